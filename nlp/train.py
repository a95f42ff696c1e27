"""Training: from a recipe to a folder with a model and its figures."""

import dataclasses
import math
import os
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi import backend, optimizers, training
from keras_multi.errors import DataError, UsageError
from keras_multi.files import (
    METRICS,
    RECIPE,
    prepare_folder,
    read_json,
    write_json,
)
from keras_multi.precision import settled
from nlp import data, lora
from nlp.gpt2 import GPT2
from nlp.ngram import ByteModel
from nlp.recipe import Recipe
from nlp.tokenizer import Tokenizer

MODEL, HISTORY, TOKENS = "model", "history.json", "tokens.bin"
NO_DECAY = ("bias", "gamma", "beta")
SAMPLE_TOKENS = 40


def train(
    recipe: Recipe,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a GPT-2 and saves it with all that belongs to it.

    The folder then holds `model` (see `GPT2.save_to_preset`), `recipe.json`,
    `history.json` and, written last, `metrics.json`. While the training runs
    it holds the tokens and a checkpoint: the same call after a crash goes on
    from the last full epoch.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar and, after each epoch, what
            the model writes, on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `seed`,
        `parameters`, `epochs`, `tokens`, `test` (`bits_per_byte`,
        `perplexity` of a token, and `bits_per_byte_5_gram` of a model that
        counts, on the same texts) and a `sample`.

    Raises:
        KerasMultiError: if the folder cannot be written, the loss is not
            finite, or a checkpoint in the folder belongs to another run.
        DataError: if the text cannot be read, or the preset.
        UsageError: if there is no such preset, it has no tokenizer, or fewer
            positions than `length`.
    """
    folder = prepare_folder(output_dir)
    texts = data.load(recipe.data)
    recipe = settled(recipe, lambda r: _ready(r, texts.train), _any_tokens)
    model = start(recipe, texts.train)
    assert model.tokenizer is not None
    tokens, weights = data.pack(
        texts.train, model.tokenizer, recipe.length, folder / TOKENS
    )
    compile_model(model, recipe, len(tokens))
    history = training.fit(
        model,
        (tokens[:, :-1], tokens[:, 1:], weights),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        checkpoint_dir=folder,
        progress=progress,
        description=f"gpt2, seed {recipe.seed}",
        callbacks=[_ShowSample(model)] if progress else [],
        settings=dataclasses.asdict(recipe),
    )
    if recipe.lora_rank:
        model = lora.merged(model)
    counting = ByteModel(texts.train).bits_per_byte(texts.test)
    result = {
        "backend": backend.name(),
        "model": "gpt2",
        "data": recipe.data,
        "seed": recipe.seed,
        "parameters": model.count_params(),
        "epochs": history.epochs,
        "tokens": int(weights.sum()),
        "test": {
            **metrics(model, texts.test, recipe),
            "bits_per_byte_5_gram": counting,
        },
        "sample": _sample(model),
    }
    (folder / METRICS).unlink(missing_ok=True)
    model.save_to_preset(folder / MODEL)
    write_json(folder / RECIPE, dataclasses.asdict(recipe))
    write_json(folder / HISTORY, dataclasses.asdict(history))
    write_json(folder / METRICS, result)
    training.remove_checkpoint(folder)
    (folder / TOKENS).unlink(missing_ok=True)
    return result


def evaluate(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Measures a trained model on the test part of its text.

    Args:
        directory: the output folder of a training.

    Returns:
        `backend`, `model`, `data` and `test`.

    Raises:
        DataError: if there is no finished run, or its text cannot be read.
    """
    folder = Path(directory)
    read_json(folder / METRICS)  # The run is finished.
    try:
        recipe = Recipe.of(**read_json(folder / RECIPE))
    except ValueError as error:
        raise DataError(f"{folder / RECIPE} is damaged: {error}") from error
    model = GPT2.from_preset(folder / MODEL, dtype=recipe.precision)
    test = metrics(model, data.load(recipe.data).test, recipe)
    return {
        "backend": backend.name(),
        "model": "gpt2",
        "data": recipe.data,
        "test": test,
    }


def start(recipe: Recipe, texts: list[str]) -> GPT2:
    """Makes the model of a recipe, seeded, with its tokenizer.

    Args:
        recipe: the recipe.
        texts: what a new tokenizer learns from.
    """
    backend.seed(recipe.seed)
    if recipe.preset is None:
        tokenizer = Tokenizer.train(texts, recipe.vocabulary_size)
        return GPT2(
            len(tokenizer),
            recipe.num_layers,
            recipe.num_heads,
            recipe.hidden_dim,
            max_length=recipe.length,
            dropout=recipe.dropout,
            tokenizer=tokenizer,
            gradient_checkpointing=recipe.gradient_checkpointing,
            dtype=recipe.precision,
        )
    model = GPT2.from_preset(
        recipe.preset,
        dropout=recipe.dropout,
        gradient_checkpointing=recipe.gradient_checkpointing,
        dtype=recipe.precision,
    )
    if model.tokenizer is None or model.max_length < recipe.length:
        raise UsageError(
            f"{recipe.preset} must have a tokenizer and at least "
            f"{recipe.length} positions. Received: tokenizer="
            f"{model.tokenizer}, max_length={model.max_length}"
        )
    if recipe.lora_rank:
        lora.add(model, recipe.lora_rank)
    return model


def compile_model(model: GPT2, recipe: Recipe, sequences: int) -> None:
    """Gives a model its optimizer and its loss.

    Args:
        model: the model.
        recipe: the recipe.
        sequences: number of training sequences, which sets the length of the
            schedule.
    """
    steps = -(-sequences // recipe.batch_size) * recipe.epochs
    warm = max(1, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / warm,
        max(1, steps - warm),
        alpha=0.1,
        warmup_target=recipe.learning_rate,
        warmup_steps=warm,
    )
    optimizer = optimizers.AdamW(
        rate,
        recipe.weight_decay,
        beta_2=0.99,
        global_clipnorm=recipe.clip,
        gradient_accumulation_steps=(
            None if recipe.accumulation == 1 else recipe.accumulation
        ),
    )
    optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
    model.compile(
        optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )


def _ready(recipe: Recipe, texts: list[str]) -> GPT2:
    """Gives a model that is compiled for a single step."""
    model = start(recipe, texts)
    compile_model(model, recipe, 1)
    return model


def _any_tokens(recipe: Recipe) -> tuple[Any, ...]:
    """Gives a batch in the shapes of one of `data.pack`."""
    shape = recipe.batch_size, recipe.length + 1
    tokens = np.random.default_rng(0).integers(0, 256, shape, "int32")
    return tokens[:, :-1], tokens[:, 1:], np.ones_like(tokens[:, 1:], "float32")


def metrics(model: GPT2, texts: list[str], recipe: Recipe) -> dict[str, float]:
    """Measures how well a model predicts texts.

    Args:
        model: with a tokenizer.
        texts: texts, packed as for the training.
        recipe: of the model.

    Returns:
        `bits_per_byte`: bits that the model needs for a text, by its bytes in
        UTF-8. `perplexity`: of a token, the end of a text included.
    """
    assert model.tokenizer is not None
    tokens, weights = data.pack(texts, model.tokenizer, recipe.length)
    nats = 0.0
    loss = keras.losses.SparseCategoricalCrossentropy(True, reduction=None)
    for first in range(0, len(tokens), recipe.batch_size):
        part = slice(first, first + recipe.batch_size)
        logits = model.predict_on_batch(tokens[part, :-1])
        losses = keras.ops.convert_to_numpy(loss(tokens[part, 1:], logits))
        nats += float((losses * weights[part]).sum(dtype=np.float64))
    size = sum(len(text.encode("utf-8")) for text in texts)
    return {
        "bits_per_byte": nats / math.log(2) / size,
        "perplexity": math.exp(nats / weights.sum()),
    }


class _ShowSample(keras.callbacks.Callback):
    """Shows after each epoch what a model writes.

    Args:
        model: with a tokenizer.
    """

    def __init__(self, model: GPT2) -> None:
        super().__init__()
        self._writer = model

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Writes a line to stderr."""
        loss = (logs or {}).get("loss", math.nan)
        sample = " ".join(_sample(self._writer).split())
        line = f"epoch {epoch + 1}, loss {loss:.3f}: {sample}"
        print(line, file=sys.stderr, flush=True)


def _sample(model: GPT2) -> str:
    """Lets the model write from the end of a text on."""
    assert model.tokenizer is not None
    end = model.tokenizer.end_id
    count = min(SAMPLE_TOKENS, model.max_length - 1)
    (ids,) = model.generate(
        [[end]], max_new_tokens=count, sampler="top_p", seed=0
    )
    return model.tokenizer.decode([i for i in ids if i != end])
