"""A model that infers faster, and gives what it gave before."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from keras.src.trainers.data_adapters import get_data_adapter

from keras_multi import backend
from keras_multi.errors import KerasMultiError, UsageError
from keras_multi.inference.affine import Affine, merge
from keras_multi.inference.graph import UntraceableError, trace
from keras_multi.inference.program import (
    TOLERANCE,
    build,
    choose,
    difference,
    plain,
    shapes,
)
from keras_multi.inference.report import Report
from keras_multi.inference.timing import Decisions, race
from keras_multi.portability import synthetic

MODEL_SECONDS = 2.0
MODEL_GAIN = 0.97  # share of the time of Keras below which a program is taken
OFTEN = 8  # calls with a batch size after which it gets its own program
Run = Callable[[Any], Any]


class OptimizedModel:
    """A model with the fastest program that was found for it.

    It is called like the model, and has its `predict` and
    `predict_on_batch`. It has copies of the weights that it laid out anew:
    after the model was trained or loaded, optimize it anew. Inputs that
    differ from the sample in more than the number of rows run the model as
    Keras does.

    Where programs are compiled for a shape, a batch of a new size is filled
    up with copies of its last row to the next power of two, or to a size that
    is compiled, until it has come `OFTEN` times. That is only done with
    models whose rows were found not to depend on each other.

    Attributes:
        model: the model, which is as it was.
        report: what was done, and what it gained.
    """

    def __init__(
        self,
        model: keras.Model,
        report: Report,
        run: Run | None,
        sample: Any,
        pads: bool,
    ) -> None:
        self.model, self.report = model, report
        self._run = run
        self._shapes = _row_shapes(sample)
        self._pads = pads
        self._sizes = {report.batch_size}
        self._calls: Counter[int] = Counter()

    def __call__(self, inputs: Any) -> Any:
        """Computes the outputs of a batch.

        Args:
            inputs: arrays or tensors in the structure of the model's inputs.

        Returns:
            Tensors in the structure of the model's outputs.
        """
        if self._run is None or _row_shapes(inputs) != self._shapes:
            return self.model(inputs, training=False)
        rows = _rows(inputs)
        size = self._size(rows)
        if size == rows:
            return self._run(inputs)
        index = np.minimum(np.arange(size), rows - 1)
        filled = tree.map_structure(
            lambda x: ops.take(x, index, axis=0), inputs
        )
        return tree.map_structure(lambda y: y[:rows], self._run(filled))

    def _size(self, rows: int) -> int:
        """The number of rows that a batch is filled up to."""
        self._calls[rows] += 1
        if not self._pads or rows in self._sizes:
            return rows
        if self._calls[rows] > OFTEN:
            self._sizes.add(rows)
            return rows
        power = 1 << (rows - 1).bit_length()
        size = min(x for x in (*self._sizes, power) if x >= rows)
        self._sizes.add(size)
        return size

    def predict_on_batch(self, x: Any) -> Any:
        """Computes the outputs of a batch as NumPy arrays."""
        if self._run is None or _row_shapes(x) != self._shapes:
            return self.model.predict_on_batch(x)
        return tree.map_structure(ops.convert_to_numpy, self(x))

    def predict(self, x: Any, batch_size: int = 32) -> Any:
        """Computes the outputs of many rows, batch by batch.

        Args:
            x: arrays in the structure of the model's inputs, or what yields
                batches, as `keras.Model.predict` takes it.
            batch_size: rows in a batch of the arrays.

        Returns:
            NumPy arrays in the structure of the model's outputs.

        Raises:
            UsageError: if there are no rows or `batch_size` is not positive.
        """
        if batch_size < 1:
            raise UsageError(
                f"batch_size must be at least 1. Received: {batch_size}"
            )
        parts = [self.predict_on_batch(part) for part in _parts(x, batch_size)]
        if not parts:
            raise UsageError("there are no rows to predict")
        return tree.map_structure(lambda *rows: np.concatenate(rows), *parts)

    def undo(self) -> keras.Model:
        """Lets go of the program and its weights.

        Returns:
            The model. This object goes on to run it as Keras does.
        """
        self._run = None
        return self.model


def optimize_for_inference(
    model: keras.Model,
    inputs: Any = None,
    *,
    batch_size: int = 1,
    modes: Iterable[str] | None = None,
    cache_dir: Path | None = None,
) -> OptimizedModel:
    """Finds the fastest way to the outputs of a model on this machine.

    The model is taken apart into layers of Keras and operations. Batch
    normalizations, biases and activations become part of the product before
    them. For each convolution and dense layer some ways to compute it are
    timed: other layouts of the weights, other algorithms. What was decided
    is kept in a file, for this machine and these versions. The result and the
    model itself are compiled and timed against `model.predict_on_batch`, and
    the fastest is taken, if it gives the same outputs to 1e-5 of the largest
    in float32.

    The model itself does not change, as `torch.compile` and
    `keras.Model.export` do not change one either: it can be trained on and
    saved, and there is nothing to repair when the optimized one is dropped.

    Args:
        model: any built Keras model. One in another precision than float32,
            with masks, or with code that cannot be called with symbols is
            compiled as it is.
        inputs: a batch like those to come, at least two rows where batches
            of other sizes are to be expected: arrays in the structure of the
            model's inputs. By default they are drawn from its specification.
        batch_size: rows to draw, without `inputs`.
        modes: of `keras_multi.backend.modes()`; all by default, but for
            `torch.compile`, which takes minutes.
        cache_dir: folder of the file with the decisions; by default that of
            the data sets, see `keras_multi.data.default_cache_dir`.

    Returns:
        An object that is called like the model and has its `predict`.

    Raises:
        UsageError: if a mode is unknown, or without `inputs` if the model
            does not tell its own.
        KerasMultiError: if the model gives other outputs each time.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_multi import optimize_for_inference
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> fast = optimize_for_inference(model, np.ones((4, 2), "float32"))
        >>> fast.predict(np.ones((3, 2), "float32")).shape
        (3, 1)
    """
    modes = _modes(modes)
    if inputs is None:
        inputs = synthetic.inputs(model, batch_size)
    expected = model.predict_on_batch(inputs)
    if not difference(model.predict_on_batch(inputs), expected) <= TOLERANCE:
        raise KerasMultiError(
            f"the model {model.name!r} gives other outputs for the same "
            "inputs; only a model without chance can be optimized"
        )
    decisions = Decisions(cache_dir)
    programs = _Programs(model, inputs, expected)
    programs.add_rewritten(modes, decisions)
    for mode in modes:
        programs.add("model", mode, functools.partial(plain, model, mode))
    decisions.save()
    return programs.best()


def _modes(modes: Iterable[str] | None) -> list[str]:
    known = backend.modes()
    if modes is None:
        return [mode for mode in known if mode != "compile"]
    modes = list(modes)
    if not modes or not set(modes) <= set(known):
        raise UsageError(
            f"backend {backend.name()!r} has the modes {', '.join(known)}. "
            f"Received: modes={modes}"
        )
    return modes


class _Programs:
    """Ways to run a model, each verified."""

    def __init__(self, model: keras.Model, inputs: Any, expected: Any) -> None:
        self.model, self.inputs, self.expected = model, inputs, expected
        self.runs: dict[tuple[str, str], Run] = {}
        self.differences: dict[tuple[str, str], float] = {}
        self.kernels: dict[str, dict[str, str]] = {}
        self.merged: list[str] = []
        self.refused: list[str] = []

    def add_rewritten(self, modes: list[str], decisions: Decisions) -> None:
        """Takes the model apart and puts it together for each mode."""
        try:
            graph = trace(self.model, self.inputs)
        except UntraceableError as error:
            self.refused.append(f"rewriting: {error}")
            return
        self.merged = merge(graph)
        found = shapes(graph, tree.flatten(self.inputs))
        for mode in modes:
            chosen = choose(graph, found, mode, decisions)
            self.kernels[mode] = {
                _name(graph.steps[place].operation): way
                for place, (way, _) in chosen.items()
            }
            make = functools.partial(build, self.model, graph, chosen, mode)
            self.add("rewritten", mode, make)

    def add(self, program: str, mode: str, make: Callable[[], Run]) -> None:
        """Keeps a program if it gives what the model gives."""
        try:
            run = make()
            outputs = tree.map_structure(ops.convert_to_numpy, run(self.inputs))
            share = difference(outputs, self.expected)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            self.refused.append(
                f"{program}, {mode}: {type(error).__name__}: {reason}"
            )
            return
        if not share <= TOLERANCE:
            self.refused.append(
                f"{program}, {mode}: its outputs differ by {share:.1e}"
            )
            return
        self.runs[program, mode] = run
        self.differences[program, mode] = share

    def _outputs(self, run: Run) -> Any:
        return tree.map_structure(ops.convert_to_numpy, run(self.inputs))

    def best(self) -> OptimizedModel:
        """Times the programs against Keras and takes the fastest."""
        contenders: dict[Any, Callable[[], Any]] = {
            key: functools.partial(self._outputs, run)
            for key, run in self.runs.items()
        }
        contenders["keras"] = functools.partial(
            self.model.predict_on_batch, self.inputs
        )
        times = race(contenders, MODEL_SECONDS)
        key: Any = min(times, key=lambda each: times[each])
        key = key if times[key] < MODEL_GAIN * times["keras"] else "keras"
        run = self.runs.get(key)
        program, mode = ("keras", "") if run is None else key
        rewritten = program == "rewritten"
        report = Report(
            backend=backend.name(),
            device=backend.device().name,
            batch_size=_rows(self.inputs),
            program=program,
            mode=mode,
            merged=tuple(self.merged) if rewritten else (),
            kernels=self.kernels[mode] if rewritten else {},
            before=times["keras"],
            after=times[key],
            difference=self.differences.get(key, 0.0),
            refused=tuple(self.refused),
        )
        pads = mode not in ("", "eager") and self._rows_are_alone(run)
        return OptimizedModel(self.model, report, run, self.inputs, pads)

    def _rows_are_alone(self, run: Run | None) -> bool:
        """Whether the outputs of a row depend on no other row."""
        rows = _rows(self.inputs)
        if run is None or rows < 2:
            return False
        index = np.minimum(np.arange(rows), rows - 2)
        changed = tree.map_structure(
            lambda x: np.take(x, index, axis=0), self.inputs
        )
        try:
            outputs = tree.map_structure(
                lambda y: ops.convert_to_numpy(y)[: rows - 1], run(changed)
            )
            first = tree.map_structure(lambda y: y[: rows - 1], self.expected)
        except Exception:
            return False
        return difference(outputs, first) <= TOLERANCE


def _name(operation: Any) -> str:
    return operation.name if isinstance(operation, Affine) else str(operation)


def _rows(inputs: Any) -> int:
    return int(tree.flatten(inputs)[0].shape[0])


def _row_shapes(inputs: Any) -> list[tuple[int, ...]]:
    return [tuple(np.shape(x)[1:]) for x in tree.flatten(inputs)]


def _parts(x: Any, batch_size: int) -> Iterable[Any]:
    """Batches of arrays, or those of what yields batches."""
    if not hasattr(tree.flatten(x)[0], "shape"):
        for batch in get_data_adapter(x).get_numpy_iterator():
            yield keras.utils.unpack_x_y_sample_weight(batch)[0]
        return
    for start in range(0, _rows(x), batch_size):
        rows = slice(start, start + batch_size)
        yield tree.map_structure(lambda a, rows=rows: a[rows], x)
