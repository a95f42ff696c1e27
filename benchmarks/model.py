"""Workloads made from a user's Keras model."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops, tree

from benchmarks.cost import model_cost
from benchmarks.results import Cost
from benchmarks.workload import Contender, Setting, Workload
from keras_multi.portability import randomness, source, subject
from keras_multi.portability.subject import Subject

BATCH_SIZES = (32,)
TRAINING_OUTPUT_STEPS = 3
OUTPUT_VALUES = 4096


def workloads(
    reference: str, name: str, precision: str, weights: Path
) -> list[Workload]:
    """Builds the user's model once and makes its workloads.

    Args:
        reference: `FILE.py:FUNCTION`.
        name: what the results call it.
        precision: the dtype policy that it is built under.
        weights: a file with the start weights; written where it is missing,
            so that the cells of a run share those of the first.

    Returns:
        Prediction, and training where the model is compiled or comes with
        targets.

    Raises:
        UsageError: if the model cannot be built or called.
    """
    import keras

    keras.config.set_dtype_policy(precision)
    made = subject.make(source.find(reference), name=reference)
    _share_weights(made.model, weights)
    workloads: list[Workload] = [ModelPrediction(made, f"{name} predict")]
    if made.targets is not None:
        workloads.append(ModelTraining(made, f"{name} train"))
    return workloads


def _share_weights(model: Any, path: Path) -> None:
    if path.exists():
        with np.load(path) as stored:
            model.set_weights([stored[key] for key in stored.files])
        return
    values = [np.asarray(w, "float32") for w in model.get_weights()]
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, *values)
    temporary.rename(path)


class _ModelWorkload(Workload):
    """A built model and its data.

    Args:
        made: the user's model.
        name: what the results call it.
    """

    batch_sizes = BATCH_SIZES
    training: bool

    def __init__(self, made: Subject, name: str) -> None:
        self.made, self.name = made, name

    def cost(self, batch_size: int) -> Cost | None:
        """Counts a step on this backend, where it can."""
        rows = self.made.rows(batch_size)
        try:
            return model_cost(self.made.model, *rows, self.training)
        except Exception as error:
            # Figures that were measured are not lost for want of a count.
            print(f"operations were not counted: {error}", file=sys.stderr)
            return None


class ModelPrediction(_ModelWorkload):
    """`Model.predict` on a user's model."""

    training = False

    def build(self, setting: Setting) -> Contender:
        """The user's model."""
        return _Prediction(self.made, setting, self.steps(setting.batch_size))


class ModelTraining(_ModelWorkload):
    """`Model.fit` on a user's model.

    Losses after some steps may differ by more than outputs do: optimizers
    divide small numbers by small numbers, and Keras's on TensorFlow treats
    the repeated rows of an embedding in a way of its own.
    """

    training = True
    output_steps = TRAINING_OUTPUT_STEPS
    tolerance = 5e-3

    def build(self, setting: Setting) -> Contender:
        """The user's model."""
        return _Training(self.made, setting, self.steps(setting.batch_size))


class _Prediction(Contender):
    def __init__(self, made: Subject, setting: Setting, steps: int) -> None:
        self.model, self.batch_size = made.model, setting.batch_size
        self.model.jit_compile = setting.mode in ("xla", "compile")
        self.inputs, _ = made.rows(steps * setting.batch_size)

    def output(self) -> np.ndarray:
        """The first values of every output for the first batch."""
        outputs = tree.flatten(self._predict(1))
        flat = [np.ravel(output)[:OUTPUT_VALUES] for output in outputs]
        return np.concatenate(flat).astype("float32")

    def run(self, steps: int) -> None:
        """Predicts some batches."""
        self._predict(steps)

    def _predict(self, steps: int) -> Any:
        rows = slice(0, steps * self.batch_size)
        return self.model.predict(
            tree.map_structure(lambda a: a[rows], self.inputs),
            batch_size=self.batch_size,
            verbose=0,
        )


class _Training(Contender):
    def __init__(self, made: Subject, setting: Setting, steps: int) -> None:
        self.model, self.batch_size = made.model, setting.batch_size
        self.model.jit_compile = setting.mode in ("xla", "compile")
        self.inputs, self.targets = made.rows(steps * setting.batch_size)

    def output(self) -> np.ndarray:
        """Losses of the first steps without dropout and noise.

        The model starts from its first weights, and has them again after.
        """
        model = self.model
        model.optimizer.build(model.trainable_variables)
        variables = [*model.variables, *model.optimizer.variables]
        start = [np.array(ops.convert_to_numpy(v)) for v in variables]
        with randomness.turned_off(model) as random:
            model.train_function = None
            losses = [self._fit(1) for _ in range(TRAINING_OUTPUT_STEPS)]
        model.train_function = None
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        if random:
            self.unjudged = f"random in training: {', '.join(random)}"
        return np.array(losses)

    def run(self, steps: int) -> None:
        """Trains on some batches."""
        self._fit(steps)

    def _fit(self, steps: int) -> float:
        rows = slice(0, steps * self.batch_size)
        history = self.model.fit(
            tree.map_structure(lambda a: a[rows], self.inputs),
            tree.map_structure(lambda a: a[rows], self.targets),
            batch_size=self.batch_size,
            shuffle=False,
            verbose=0,
        )
        return float(history.history["loss"][0])
