"""What the three loops share: the tasks they train on, and their checks."""

import importlib
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from keras_multi import backend
from keras_multi.errors import UsageError

TASKS = "ratings", "text"
SEED = 42


class Task(NamedTuple):
    """A model, the data that it learns, and how.

    Attributes:
        train: inputs and targets to train on.
        test: the same, to measure on.
        build: makes the model, with the same start weights each time.
        loss: Keras loss.
        make_metric: makes the Keras metric.
        finish: turns what the model gives into what is served.
        adagrad: learning rate, first value of the accumulators, epsilon.
            Adagrad means the same in Keras, optax and PyTorch. Adam does not:
            Keras adds epsilon before the correction of the bias, the others
            after it.
        epochs: passes over the rows.
        batch_size: rows of a step.
    """

    train: tuple[Any, Any]
    test: tuple[Any, Any]
    build: Callable[[], Any]
    loss: Any
    make_metric: Callable[[], Any]
    finish: Callable[[Any], Any]
    adagrad: tuple[float, float, float]
    epochs: int
    batch_size: int


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


def load() -> Task:
    """Loads the task that the command line names, the ratings without one.

    Raises:
        UsageError: if there is no such task.
    """
    name = (sys.argv[1:] or TASKS[:1])[0]
    if name not in TASKS:
        raise UsageError(
            f"there is no task {name!r}; give one of {', '.join(TASKS)}"
        )
    task: Task = importlib.import_module(name).load()
    return task


def batches(task: Task) -> Any:
    """Cuts the training rows into batches, the same ones on every backend."""
    from keras_multi.training import Batches

    return Batches(task.train, task.batch_size, SEED)


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

    Args:
        targets: numbers of the shape of the predictions, or the classes whose
            logits are the last axis of the predictions.
        predicted: what the model gave.

    Raises:
        UsageError: if the shapes do not fit.
    """
    shape = tuple(predicted.shape)
    if tuple(targets.shape) not in (shape, shape[:-1]):
        raise UsageError(
            "targets and predictions must have the same shape, but for an "
            "axis of classes, for the loss and the metric. Received: targets "
            f"{tuple(targets.shape)}, predictions {shape}"
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
