"""The help texts of Python by a language model: `nlp.GPT2`."""

import keras
from keras import ops
from shared import SEED, Task

from keras_multi import backend
from nlp import GPT2, Tokenizer, data

VOCABULARY_SIZE, LENGTH, LAYERS, HEADS, DIM = 512, 64, 2, 4, 64


def load() -> Task:
    """Loads the texts as sequences of tokens, each with the one that follows.

    The last sequence of each part, which is filled up, is left out.
    """
    texts = data.load("pydoc")
    tokenizer = Tokenizer.train(texts.train, VOCABULARY_SIZE)
    train, test = (
        data.pack(part, tokenizer, LENGTH)[0][:-1]
        for part in (texts.train, texts.test)
    )

    def build() -> GPT2:
        backend.seed(SEED)
        # Without dropout, each framework computes the same.
        model = GPT2(
            len(tokenizer), LAYERS, HEADS, DIM, max_length=LENGTH, dropout=0.0
        )
        model.build()
        return model

    return Task(
        (train[:, :-1], train[:, 1:]),
        (test[:, :-1], test[:, 1:]),
        build,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        make_metric=lambda: keras.metrics.SparseCategoricalCrossentropy(
            from_logits=True
        ),
        finish=ops.log_softmax,
        adagrad=(0.03, 0.01, 1e-7),
        epochs=8,
        batch_size=32,
    )
