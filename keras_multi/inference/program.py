"""A model made ready to run: its products chosen, all of it compiled."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from keras.src.backend import compute_output_spec

from keras_multi import backend
from keras_multi.inference.affine import Affine, ScaleAndShift
from keras_multi.inference.graph import Graph, runner
from keras_multi.inference.kernels import PLAIN, Kernel, ways
from keras_multi.inference.timing import Decisions, race

KERNEL_SECONDS = 0.15
GAIN = 0.95  # share of the time of Keras's way below which another is taken
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Variables:
    """What a compiled program reads."""

    variables: list[Any]


def shapes(graph: Graph, inputs: list[np.ndarray]) -> dict[int, Any]:
    """Finds the shapes of what the products of a graph are given.

    Args:
        graph: of a model.
        inputs: flat.

    Returns:
        Per place of a step with an `Affine`, the shape of its inputs, if it
        does not depend on values.
    """
    found: dict[int, Any] = {}

    def spy(place: int, operation: Any) -> Callable[[Any], Any]:
        def call(x: Any) -> Any:
            found[place] = tuple(x.shape)
            return operation(x)

        return call

    calls = {
        place: spy(place, step.operation)
        for place, step in enumerate(graph.steps)
        if isinstance(step.operation, Affine)
    }
    symbols = [
        keras.KerasTensor(x.shape, slot.dtype)
        for x, slot in zip(inputs, graph.inputs, strict=True)
    ]
    compute_output_spec(runner(graph, calls), *symbols)
    return {place: s for place, s in found.items() if None not in s}


def choose(
    graph: Graph,
    found: dict[int, Any],
    mode: str,
    decisions: Decisions,
) -> dict[int, tuple[str, Kernel]]:
    """Chooses a way for each product.

    Args:
        graph: of a model.
        found: the shapes of their inputs, see `shapes`.
        mode: how the program will be compiled.
        decisions: what was measured before.

    Returns:
        Per place of a step with an `Affine`, the name of the way and the way.
    """
    chosen = {}
    for place, shape in found.items():
        affine = graph.steps[place].operation
        makers = ways(affine, shape)
        problem = _problem(affine, shape, mode)
        best = decisions.get(problem) if len(makers) > 1 else PLAIN
        if best not in makers:
            best = _fastest(affine, makers, shape, mode)
            decisions.put(problem, best)
        chosen[place] = best, makers[best]()
    return chosen


def _problem(affine: Affine, shape: Any, mode: str) -> str:
    """Names all that the speed of a product depends on."""
    activation = getattr(affine.activation, "__name__", None)
    facts = [mode, affine.kind, shape, tuple(affine.kernel.shape)]
    facts += [sorted(affine.options.items()), affine.bias is not None]
    return json.dumps([*facts, activation])


def _fastest(affine: Affine, makers: Any, shape: Any, mode: str) -> str:
    rng = np.random.default_rng(0)
    x = ops.convert_to_tensor(rng.standard_normal(shape, "float32"))
    steps: dict[str, Callable[[], Any]] = {}
    expected = None
    for name, make in makers.items():
        kernel = make()
        bound = backend.bind(Variables(kernel.variables), kernel.compute, mode)
        outputs = ops.convert_to_numpy(bound(x))
        if expected is None:
            expected = outputs
        if difference(outputs, expected) <= TOLERANCE:
            steps[name] = functools.partial(bound, x)
    times = race(steps, KERNEL_SECONDS)
    best = min(times, key=lambda name: times[name])
    return best if times[best] < GAIN * times[PLAIN] else PLAIN


def difference(found: Any, expected: Any) -> float:
    """The largest difference, as a share of the largest expected number.

    Args:
        found: an array, or a nested structure of arrays.
        expected: the same.

    Returns:
        The share; infinite if a shape differs, or what is no number.

    Example:
        >>> import numpy as np
        >>> difference(np.array([1.0, 3.5]), np.array([1.0, 4.0]))
        0.125
    """
    pairs = zip(tree.flatten(found), tree.flatten(expected), strict=True)
    return max((_difference(*pair) for pair in pairs), default=0.0)


def _difference(found: Any, expected: Any) -> float:
    try:
        a, b = (np.asarray(x, "float64") for x in (found, expected))
    except (TypeError, ValueError):  # strings
        return 0.0 if np.array_equal(found, expected) else float("inf")
    finite = np.isfinite(b)
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), finite):
        return float("inf")
    apart = np.abs(a[finite] - b[finite]).max(initial=0.0)
    return float(apart / max(np.abs(b[finite]).max(initial=0.0), 1e-30))


def build(
    model: keras.Model,
    graph: Graph,
    chosen: dict[int, tuple[str, Kernel]],
    mode: str,
    static: bool,
) -> Callable[[Any], Any]:
    """Compiles a graph with the ways that were chosen.

    Args:
        model: what the graph was made from.
        graph: the model taken apart.
        chosen: see `choose`.
        mode: how to compile it.
        static: see `keras_multi.backend.bind`.

    Returns:
        A function of the inputs, in the structure of the model's.
    """
    calls = {place: kernel.compute for place, (_, kernel) in chosen.items()}
    read = [*model.variables, *graph.constants]
    for place, step in enumerate(graph.steps):
        if place in chosen:
            read += chosen[place][1].variables
        elif isinstance(step.operation, Affine | ScaleAndShift):
            read += step.operation.variables
    own = list({id(variable): variable for variable in read}.values())
    steps = runner(graph, calls)
    bound = backend.bind(Variables(own), steps, mode, static)
    dtypes = [slot.dtype for slot in graph.inputs]

    def run(inputs: Any) -> Any:
        tensors = (
            ops.convert_to_tensor(x, dtype)
            for x, dtype in zip(tree.flatten(inputs), dtypes, strict=True)
        )
        return bound(*tensors)

    return run


def plain(model: keras.Model, mode: str, static: bool) -> Callable[[Any], Any]:
    """Compiles a model as it is; see `build`."""
    known = Variables(model.variables)
    bound = backend.bind(
        known, lambda x: model(x, training=False), mode, static
    )
    return lambda x: bound(tree.map_structure(ops.convert_to_tensor, x))
