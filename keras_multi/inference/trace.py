"""Takes a model apart into steps."""

import contextlib
from collections.abc import Iterator
from math import prod
from typing import Any

import keras
from keras import tree
from keras.src.models.functional import Functional

from keras_multi.backend.scope import ReadOnlyScope
from keras_multi.inference.graph import Graph, Slot, Step

SMALL = 1024  # elements of a constant that may be part of a program
NOTHING_TO_DO = (keras.layers.Dropout, keras.layers.Identity)


class UntraceableError(Exception):
    """A model whose steps cannot be told; the message says why."""


def trace(model: keras.Model, inputs: Any) -> Graph:
    """Takes a model apart into layers of Keras and operations.

    The graph of a functional or sequential model is known. Other models and
    layers, at whatever depth, are called with symbols; a layer that cannot be
    called so stays one step. The model is left as it was.

    Args:
        model: a built model in float32.
        inputs: arrays in the structure of its inputs.

    Raises:
        UntraceableError: if another precision, a mask or the code of the
            model itself stands against it.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> graph = trace(model, np.ones((3, 2), "float32"))
        >>> [type(step.operation).__name__ for step in graph.steps]
        ['Dense']
    """
    for layer in model._flatten_layers():
        if not {layer.compute_dtype, layer.variable_dtype} <= {"float32"}:
            raise UntraceableError(
                f"the layer {layer.name!r} has the policy "
                f"{layer.dtype_policy.name}, and only float32 is rewritten"
            )
        if getattr(layer, "quantization_mode", None) or getattr(
            layer, "lora_enabled", False
        ):
            raise UntraceableError(f"the layer {layer.name!r} is quantized")
    known = _functional(model)
    if known is not None:
        _check_structure(inputs, known._inputs_struct)
        symbols = tree.flatten(known._inputs_struct)
        dtypes = [symbol.dtype for symbol in symbols]
    else:
        dtypes = [_cast(model, x.dtype) for x in tree.flatten(inputs)]
    slots = tree.pack_sequence_as(
        inputs,
        [
            Slot((None, *x.shape[1:]), dtype)
            for x, dtype in zip(tree.flatten(inputs), dtypes, strict=True)
        ],
    )
    tracer = _Tracer()
    outputs = tracer.expand(model, (slots,), {})
    constants: dict[int, keras.Variable] = {}

    def hold(leaf: Any) -> Any:
        if not keras.ops.is_tensor(leaf) or prod(leaf.shape) < SMALL:
            return leaf
        if id(leaf) not in constants:
            constants[id(leaf)] = keras.Variable(
                leaf, trainable=False, dtype=leaf.dtype
            )
        return constants[id(leaf)]

    for step in tracer.steps:
        step.args, step.kwargs = tree.map_structure(
            hold, (step.args, step.kwargs)
        )
    return Graph(
        tree.flatten(slots), tracer.steps, outputs, list(constants.values())
    )


def _check_structure(inputs: Any, symbols: Any) -> None:
    if len(tree.flatten(inputs)) == len(tree.flatten(symbols)) == 1:
        return
    try:
        tree.assert_same_structure(inputs, symbols)
    except (TypeError, ValueError) as error:
        raise UntraceableError(
            "the inputs have another structure than those of the model"
        ) from error


def _cast(model: keras.Model, dtype: Any) -> str:
    """The type that a model casts an input to."""
    name = str(keras.backend.standardize_dtype(dtype))
    floats = keras.backend.is_float_dtype(name)
    return str(model.compute_dtype) if floats and model.autocast else name


def _functional(layer: Any) -> Functional | None:
    """The known graph of a layer, if its calls run through that."""
    if isinstance(layer, keras.Sequential):
        layer = layer._functional
    if isinstance(layer, Functional) and type(layer).call is Functional.call:
        return layer
    return None


def _is_opaque(operation: Any) -> bool:
    """Whether an operation is of Keras, or builds on a layer of Keras."""
    return not isinstance(operation, keras.layers.Layer) or any(
        base.__module__.startswith("keras.src.layers.")
        and base is not keras.layers.Layer
        for base in type(operation).__mro__
    )


def _fill(structure: Any, values: dict[int, Any]) -> Any:
    """Replaces symbols by the values of them."""
    return tree.map_structure(
        lambda x: values[id(x)] if isinstance(x, keras.KerasTensor) else x,
        structure,
    )


class _Tracer:
    def __init__(self) -> None:
        self.steps: list[Step] = []

    def expand(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """Adds the steps of a layer, and gives its outputs as slots."""
        known = _functional(layer)
        if known is not None:
            symbols = tree.flatten(known._inputs_struct)
            slots = tree.flatten(args[0])
            values = {
                id(symbol): slot
                for symbol, slot in zip(symbols, slots, strict=True)
            }
            return self._walk(known._outputs_struct, values)
        values = {}

        def symbol(leaf: Any) -> Any:
            if not isinstance(leaf, Slot):
                return leaf
            made = keras.KerasTensor(leaf.shape, leaf.dtype)
            values[id(made)] = leaf
            alive.append(made)
            return made

        alive: list[Any] = []  # An id may be given anew otherwise.
        args, kwargs = tree.map_structure(symbol, (args, kwargs))
        if layer._call_has_training_arg and kwargs.get("training") is None:
            kwargs["training"] = False
        with _unrecorded(layer), ReadOnlyScope():
            try:
                outputs = layer.call(*args, **kwargs)
            except Exception as error:
                raise UntraceableError(
                    f"{type(layer).__name__}.call does not take symbols "
                    f"({type(error).__name__})"
                ) from error
            return self._walk(outputs, values)

    def _walk(self, outputs: Any, values: dict[int, Any]) -> Any:
        """Adds the steps that lead from known symbols to others."""
        for node in _nodes(outputs, values):
            args = _fill(node.arguments.args, values)
            kwargs = _fill(node.arguments.kwargs, values)
            results = tree.flatten(self._apply(node, args, kwargs))
            for symbol, slot in zip(node.outputs, results, strict=True):
                if getattr(symbol, "_keras_mask", None) is not None:
                    raise UntraceableError(
                        f"{node.operation.name!r} gives a mask"
                    )
                values[id(symbol)] = slot
        return _fill(outputs, values)

    def _apply(self, node: Any, args: Any, kwargs: Any) -> Any:
        operation = node.operation
        trains = kwargs.get("training")
        if isinstance(operation, NOTHING_TO_DO) and not trains:
            return args[0]
        if not _is_opaque(operation) and not trains:
            before = len(self.steps)
            try:
                return self.expand(operation, args, dict(kwargs))
            except UntraceableError:
                del self.steps[before:]
        outputs = [Slot(tuple(x.shape), x.dtype) for x in node.outputs]
        self.steps.append(Step(operation, args, kwargs, outputs))
        return outputs


def _nodes(outputs: Any, values: dict[int, Any]) -> list[Any]:
    """Nodes that lead to some symbols, each after those that it needs."""
    order: list[Any] = []
    done: set[int] = set()
    stack = [(_node(x), False) for x in _unknown(outputs, values)]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            order.append(node)
            continue
        stack.append((node, True))
        needed = _unknown(node.arguments.keras_tensors, values)
        stack += [(_node(x), False) for x in needed]
    return order


def _unknown(structure: Any, values: dict[int, Any]) -> list[Any]:
    return [
        x
        for x in tree.flatten(structure)
        if isinstance(x, keras.KerasTensor) and id(x) not in values
    ]


def _node(symbol: Any) -> Any:
    """The call that gave a symbol."""
    operation, index, _ = getattr(symbol, "_keras_history", (None, 0, 0))
    if operation is None:
        raise UntraceableError("a symbol comes from outside of the model")
    return operation._inbound_nodes[index]


@contextlib.contextmanager
def _unrecorded(layer: Any) -> Iterator[None]:
    """Takes back what calls with symbols leave behind in layers."""
    lists = [
        nodes
        for inner in layer._flatten_layers()
        for nodes in (inner._inbound_nodes, inner._outbound_nodes)
    ]
    lengths = [len(nodes) for nodes in lists]
    try:
        yield
    finally:
        for nodes, length in zip(lists, lengths, strict=True):
            del nodes[length:]
