"""What a model computes, as a list of steps on Keras's own operations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree


@dataclass(frozen=True, eq=False)
class Slot:
    """A tensor that a step gives, or the model is given.

    Attributes:
        shape: without the batch size, which is `None`.
        dtype: name of the type.
    """

    shape: tuple[int | None, ...]
    dtype: str


@dataclass
class Step:
    """A call of an operation.

    Attributes:
        operation: a layer, or another operation of Keras.
        args: positional arguments, a `Slot` in place of each tensor.
        kwargs: the same, by name.
        outputs: what it gives, flat.
    """

    operation: Any
    args: Any
    kwargs: Any
    outputs: list[Slot]

    def reads(self) -> list[Slot]:
        """Gives the slots among the arguments."""
        leaves = tree.flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Slot)]


@dataclass
class Graph:
    """A model as steps, in an order in which they can be taken.

    Attributes:
        inputs: a `Slot` for each input, flat.
        steps: layers that are not taken apart, and operations.
        outputs: a `Slot` for each output, in the structure of the model's.
        constants: tensors of some size that are read in steps, as variables,
            so that they are no part of a compiled program.
    """

    inputs: list[Slot]
    steps: list[Step]
    outputs: Any
    constants: list[keras.Variable]


def runner(graph: Graph, calls: dict[int, Callable[..., Any]]) -> Any:
    """Gives a function that takes the steps.

    Args:
        graph: of a model.
        calls: by place of the step, what to call in place of its operation.

    Returns:
        A function of the inputs, flat, that gives the outputs. A tensor is
        let go after the last step that reads it.
    """
    last: dict[Slot, int] = {}
    for place, step in enumerate(graph.steps):
        last |= dict.fromkeys([*step.reads(), *step.outputs], place)
    kept = {s for s in tree.flatten(graph.outputs) if isinstance(s, Slot)}
    plan = []
    gather = _reader(graph.outputs)
    for place, step in enumerate(graph.steps):
        dead = [
            slot
            for slot in {*step.reads(), *step.outputs} - kept
            if last[slot] == place
        ]
        call = calls.get(place) or direct(step)
        read = _reader(step.args), _reader(step.kwargs)
        plan.append((call, *read, step.outputs, dead))

    def run(*inputs: Any) -> Any:
        values = dict(zip(graph.inputs, inputs, strict=True))
        for call, args, kwargs, outputs, dead in plan:
            result = call(*args(values), **kwargs(values))
            if len(outputs) == 1 and not isinstance(result, list | tuple):
                values[outputs[0]] = result
            else:
                flat = tree.flatten(result)
                values |= zip(outputs, flat, strict=True)
            for slot in dead:
                del values[slot]
        return gather(values)

    return run


def direct(step: Step) -> Callable[..., Any]:
    """What a step calls: without what Keras does around each call.

    In float32 and without masks it changes nothing.
    """
    operation: Callable[..., Any] = step.operation
    if not isinstance(operation, keras.Operation):
        return operation
    if not isinstance(operation, keras.layers.Layer):
        call: Callable[..., Any] = operation.call
        return call
    if type(operation).__call__ is not keras.layers.Layer.__call__:
        return operation
    if not operation._call_has_training_arg:
        call = operation.call
        return call

    def infer(*args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        return operation.call(*args, training=bool(training), **kwargs)

    return infer


def _reader(structure: Any) -> Callable[[dict[Slot, Any]], Any]:
    """Gives a function that puts values in the place of slots.

    `tree.map_structure` takes longer than many operations.
    """
    if isinstance(structure, Slot):
        return lambda values: values[structure]
    if type(structure) in (list, tuple):
        kind, parts = type(structure), [_reader(x) for x in structure]
        return lambda values: kind(part(values) for part in parts)
    if type(structure) is dict:
        named = [(key, _reader(x)) for key, x in structure.items()]
        return lambda values: {key: part(values) for key, part in named}
    if not tree.is_nested(structure):
        return lambda values: structure
    return lambda values: tree.map_structure(
        lambda x: values[x] if isinstance(x, Slot) else x, structure
    )
