"""What the three loops share: the ratings, the model and its settings."""

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from keras_multi import backend
from keras_multi.errors import UsageError

EPOCHS, BATCH_SIZE, SEED = 12, 2000, 42
EMBEDDING_DIM, CROSS_LAYERS, DEEP_UNITS = 8, 2, (64,)
# Adagrad means the same in Keras, optax and PyTorch. Adam does not: Keras
# adds epsilon before the correction of the bias, the others after it.
LEARNING_RATE, START, EPSILON = ADAGRAD = 0.4, 0.1, 1e-7


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
        UsageError: if `KERAS_BACKEND` or what was imported asks for another.
        BackendError: if the framework is not installed.
    """
    found = os.environ.get("KERAS_BACKEND", name)
    if found != name:
        raise UsageError(
            f"this loop is written in {name}, but KERAS_BACKEND={found}; "
            f"start it with KERAS_BACKEND={name}"
        )
    backend.select(name)


def load() -> Ratings:
    """Loads the ratings in their fixed split."""
    import keras

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
            embedding_dim=EMBEDDING_DIM,
            num_cross_layers=CROSS_LAYERS,
            deep_units=DEEP_UNITS,
            output_bias=float(train[1].mean()),
        )
        model.build(keras.tree.map_structure(np.shape, train[0]))
        return model

    return Ratings(train, test, build)


def batches(data: Ratings) -> Any:
    """Cuts the training rows into batches, the same ones on every backend."""
    from keras_multi.training import Batches

    return Batches(data.train, BATCH_SIZE, SEED)


def check_built(model: Any) -> None:
    """Checks that a model has its weights.

    Keras makes them when it sees a first batch. A framework that took the
    weights before that would train none.

    Raises:
        UsageError: if it has not.
    """
    if not model.built or not model.variables:
        raise UsageError(
            f"the model {model.name!r} has no weights yet; call it on a "
            "batch, or model.build(shapes), before you make the step"
        )


def check_targets(targets: Any, predicted: Any) -> None:
    """Checks that each prediction has its target.

    Losses and metrics would broadcast `(batch, 1)` with `(1, batch)` or
    `(batch, 3)` and give a number that means nothing.

    Raises:
        UsageError: if the shapes differ.
    """
    if tuple(targets.shape) != tuple(predicted.shape):
        raise UsageError(
            "targets and predictions must have the same shape, for the loss "
            f"and the metric. Received: targets {tuple(targets.shape)}, "
            f"predictions {tuple(predicted.shape)}"
        )


def check_state(model: Any, metric: Any, state: Any) -> None:
    """Checks that a state outside of Keras belongs to a model and a metric.

    Args:
        model: the Keras model.
        metric: the Keras metric.
        state: its `trainable`, `non_trainable` and `metric` hold values of
            the variables.

    Raises:
        UsageError: if the number or the shape of values differs.
    """
    for variables, values in (
        (model.trainable_variables, state.trainable),
        (model.non_trainable_variables, state.non_trainable),
        (metric.variables, state.metric),
    ):
        check_same_shapes(variables, values)


def check_same_shapes(variables: Iterable[Any], values: Iterable[Any]) -> None:
    """Checks that values are those of the variables, by their shapes.

    Raises:
        UsageError: if the number or the shape of values differs.
    """
    wanted = [tuple(variable.shape) for variable in variables]
    found = [tuple(value.shape) for value in values]
    if wanted != found:
        raise UsageError(
            "this is the state of another model or metric; take it from "
            "the one that the step was made for. Received: shapes "
            f"{found}, needed: {wanted}"
        )
