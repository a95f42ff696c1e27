"""What the three loops share: the ratings, the model and its settings."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_multi.errors import UsageError

EPOCHS, BATCH_SIZE, SEED = 8, 2000, 42
# Adagrad means the same in Keras, optax and PyTorch. Adam does not: Keras
# adds epsilon before the correction of the bias, the others after it.
LEARNING_RATE, START, EPSILON = 0.3, 0.1, 1e-7


class Ratings(NamedTuple):
    """MovieLens 100K as arrays, and what makes the model for them.

    Attributes:
        train: inputs and ratings of 80,000 rows.
        test: the same of 20,000 rows.
        build: makes the model, with the same start weights each time.
    """

    train: tuple[Any, np.ndarray]
    test: tuple[Any, np.ndarray]
    build: Callable[[], Any]


def require(name: str) -> None:
    """Chooses the backend of a script before Keras is imported.

    Raises:
        UsageError: if `KERAS_BACKEND` asks for another one.
    """
    found = os.environ.setdefault("KERAS_BACKEND", name)
    if found != name:
        raise UsageError(
            f"this loop is written in {name}, but KERAS_BACKEND={found}; "
            f"start it with KERAS_BACKEND={name}"
        )


def load() -> Ratings:
    """Loads the ratings in their fixed split."""
    import keras

    from keras_multi import backend
    from recsys import DCN, data

    split = data.load("movielens-100k")
    features = data.task("movielens-100k").features().fit(split.train)

    def arrays(table: Any) -> tuple[Any, np.ndarray]:
        target = table[table.target].astype("float32")
        return features.transform(table), target[:, None]

    train, test = arrays(split.train), arrays(split.test)

    def build() -> Any:
        backend.seed(SEED)
        model = DCN(
            features.vocabulary_sizes,
            features.num_dense,
            embedding_dim=32,
            num_cross_layers=2,
            deep_units=(64,),
            structure="parallel",
            embeddings_regularizer=keras.regularizers.L2(1e-3),
            output_bias=float(train[1].mean()),
        )
        model.build(keras.tree.map_structure(np.shape, train[0]))
        return model

    return Ratings(train, test, build)
