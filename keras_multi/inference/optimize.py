"""Finds the fastest way to the outputs of a model."""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_multi import backend
from keras_multi.errors import KerasMultiError, UsageError
from keras_multi.inference.affine import Affine, merge
from keras_multi.inference.optimized import OptimizedModel, Run, count_rows
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
from keras_multi.inference.trace import UntraceableError, trace
from keras_multi.portability import synthetic

MODEL_SECONDS = 2.0
MODEL_GAIN = 0.97  # share of the time of Keras below which a program is taken


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
    inputs = tree.map_structure(_array, inputs)
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


def _array(x: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x) if ops.is_tensor(x) else x)


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
        # Rows are turned, not columns: each may have a vocabulary of its own.
        turned = tree.map_structure(lambda x: np.flip(x, axis=0).copy(), inputs)
        others = model.predict_on_batch(turned)
        self.samples = [(inputs, expected), (turned, others)]
        self.runs: dict[tuple[str, str], Run] = {}
        self.differences: dict[tuple[str, str], float] = {}
        self.kernels: dict[str, dict[str, str]] = {}
        self.merged: list[str] = []
        self.refused: list[str] = []

    def add_rewritten(self, modes: list[str], decisions: Decisions) -> None:
        """Takes the model apart and puts it together for each mode."""
        try:
            graph = trace(self.model, self.inputs)
            self.merged = merge(graph)
            found = shapes(graph, tree.flatten(self.inputs))
            ways = {
                mode: choose(graph, found, mode, decisions) for mode in modes
            }
        except UntraceableError as error:
            self.refused.append(f"rewriting: {error}")
            return
        except Exception as error:  # of the code of a user's layer
            self.refused.append(f"rewriting: {_told(error)}")
            return
        for mode, chosen in ways.items():
            self.kernels[mode] = {
                _name(graph.steps[place].operation): way
                for place, (way, _) in chosen.items()
            }
            make = functools.partial(build, self.model, graph, chosen, mode)
            self.add("rewritten", mode, make)

    def add(self, program: str, mode: str, make: Callable[[bool], Run]) -> None:
        """Keeps a program if it gives what the model gives.

        Eager PyTorch repeats the operations of the first call, if that gives
        the same for other inputs too, and calls all layers again else.
        """
        if mode == "eager":
            reason = self._try(program, mode, functools.partial(make, True))
            if reason is None:
                return
            self.refused.append(f"{program}, repeated: {reason}")
        reason = self._try(program, mode, functools.partial(make, False))
        if reason is not None:
            self.refused.append(f"{program}, {mode}: {reason}")

    def _try(
        self, program: str, mode: str, make: Callable[[], Run]
    ) -> str | None:
        """Keeps a program, or tells why not."""
        try:
            run = make()
            share = self._difference(run)
        except Exception as error:
            return _told(error)
        if not share <= TOLERANCE:
            return f"its outputs differ by {share:.1e}"
        self.runs[program, mode] = run
        self.differences[program, mode] = share
        return None

    def _difference(self, run: Run) -> float:
        """How far the outputs are from the model's, for other inputs too."""
        return max(
            difference(self._outputs(run, x), outputs)
            for x, outputs in self.samples
        )

    def _outputs(self, run: Run, inputs: Any) -> Any:
        return tree.map_structure(ops.convert_to_numpy, run(inputs))

    def best(self) -> OptimizedModel:
        """Times the programs against Keras and takes the fastest."""
        contenders: dict[Any, Callable[[], Any]] = {
            key: functools.partial(self._outputs, run, self.inputs)
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
        pads = mode not in ("", "eager") and self._rows_are_alone(run)
        report = Report(
            backend=backend.name(),
            device=backend.device().name,
            batch_size=count_rows(self.inputs),
            program=program,
            mode=mode,
            merged=tuple(self.merged) if rewritten else (),
            kernels=self.kernels[mode] if rewritten else {},
            before=times["keras"],
            after=times[key],
            difference=self.differences.get(key, 0.0),
            refused=tuple(self.refused),
        )
        return OptimizedModel(self.model, report, run, self.inputs, pads)

    def _rows_are_alone(self, run: Run | None) -> bool:
        """Whether the outputs of a row depend on no other row."""
        rows = count_rows(self.inputs)
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
        except Exception as error:
            self.refused.append(f"other batch sizes: {_told(error)}")
            return False
        return difference(outputs, first) <= TOLERANCE


def _told(error: Exception) -> str:
    """The kind of an error and the first line of its message."""
    reason = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {reason}"


def _name(operation: Any) -> str:
    return operation.name if isinstance(operation, Affine) else str(operation)
