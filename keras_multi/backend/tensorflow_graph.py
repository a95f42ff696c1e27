"""Counts the arithmetic operations of a graph of TensorFlow."""

import re
from collections.abc import Sequence
from math import prod
from typing import Any

import tensorflow as tf

# Operations that hold products and that `operations` cannot count.
OPAQUE = re.compile(
    "MatMul|Conv[23]D|Conv2d|Einsum|XlaDot|XlaConv|RNN|XlaCustomCall|PyFunc"
)
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
LOOPS = ("While", "StatelessWhile")


class UnknownError(Exception):
    """A part of the graph whose operations cannot be counted."""


def count(graph: Any, outputs: Sequence[Any]) -> int:
    """Counts what some outputs need; the rest of a graph is not run."""
    reached = _reached(graph, outputs)
    return sum(_count_op(graph, op, used) for op, used in reached.items())


def _reached(graph: Any, outputs: Sequence[Any]) -> dict[Any, set[int]]:
    """Gives the operations that must run, and which of their outputs count."""
    reached: dict[Any, set[int]] = {op: set() for op in graph.control_outputs}
    waiting = list(reached)

    def reach(op: Any, *outputs: int) -> None:
        if op not in reached:
            waiting.append(op)
        reached.setdefault(op, set()).update(outputs)

    for tensor in outputs:
        reach(tensor.op, tensor.value_index)
    while waiting:
        op = waiting.pop()
        for tensor in op.inputs:
            reach(tensor.op, tensor.value_index)
        for before in op.control_inputs:
            reach(before)
    return reached


def _count_op(graph: Any, op: Any, used: set[int]) -> int:
    kind = op.type
    if kind == "MatMul":
        side = 0 if op.get_attr("transpose_a") else 1
        return 2 * _size(op.outputs[0]) * _shape(op.inputs[0])[side]
    if kind in ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
        side = -2 if op.get_attr("adj_x") else -1
        return 2 * _size(op.outputs[0]) * _shape(op.inputs[0])[side]
    if kind == "Einsum":
        return _count_einsum(op)
    if re.fullmatch("Conv[23]D|DepthwiseConv2dNative", kind):
        return _count_convolution(op, op.outputs[0], op.inputs[1])
    if re.fullmatch(".*Conv.*BackpropInput(V2)?", kind):
        return _count_convolution(op, op.inputs[2], op.inputs[1])
    if re.fullmatch(".*Conv.*BackpropFilter(V2)?", kind):
        return _count_convolution(op, op.inputs[2], op.outputs[0])
    if OPAQUE.search(kind):
        raise UnknownError

    def inside(name: str) -> int:
        inner = graph._get_function(name).graph
        return count(inner, [inner.outputs[index] for index in used])

    if kind in CALLS:
        return inside(op.get_attr("f").name)
    if kind in BRANCHES:
        branches = (
            op.get_attr("branches")
            if "Case" in kind
            else [op.get_attr("then_branch"), op.get_attr("else_branch")]
        )
        counts = {inside(branch.name) for branch in branches}
        if len(counts) > 1:
            raise UnknownError
        return counts.pop()
    if kind in LOOPS:
        return _count_loop(op, used)
    return 0


def _shape(tensor: Any) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise UnknownError
    shape: list[int] = tensor.shape.as_list()
    return shape


def _size(tensor: Any) -> int:
    return prod(_shape(tensor))


def _count_convolution(op: Any, outputs: Any, kernel: Any) -> int:
    """Each output meets each tap of each input channel of its group once."""
    shape = _shape(kernel)
    depthwise = op.type.startswith("Depthwise")
    return 2 * _size(outputs) * prod(shape[:2] if depthwise else shape[:-1])


def _count_einsum(op: Any) -> int:
    """A multiply-add for each combination of the labels."""
    if len(op.inputs) == 1:
        return 0
    terms = op.get_attr("equation").decode().partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, op.inputs, strict=True):
        before, _, after = term.partition("...")
        shape = _shape(tensor)
        rest = len(shape) - len(before) - len(after)
        labels = [
            *before,
            *(f"...{axis}" for axis in range(-rest, 0)),
            *after,
        ]
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    return 2 * prod(sizes.values())


def _count_loop(loop: Any, used: set[int]) -> int:
    """Counts the loop variables that are used, over all turns.

    One is used if its result is, or if the condition or another used one
    reads it.
    """
    condition, body = _parts(loop)
    needed = used | _read(condition, condition.outputs)
    while more := _read(body, [body.outputs[i] for i in needed]) - needed:
        needed |= more
    once = count(body, [body.outputs[i] for i in needed])
    return once and once * _turns(loop)


def _parts(loop: Any) -> list[Any]:
    """Graphs of the condition and of the body."""
    return [
        loop.graph._get_function(loop.get_attr(part).name).graph
        for part in ("cond", "body")
    ]


def _read(graph: Any, outputs: Sequence[Any]) -> set[int]:
    """Positions of the inputs that some outputs come from."""
    reached = _reached(graph, outputs)
    return {i for i, x in enumerate(graph.inputs) if x.op in reached}


def _turns(loop: Any) -> int:
    """How often a loop `while i < n and j < m` runs that counts by ones.

    The bounds are constants, or loop variables; Keras and TensorFlow write
    no loop that changes its bound.
    """
    condition, _ = _parts(loop)
    positions = {x.op: i for i, x in enumerate(condition.inputs)}
    turns = []
    terms = [condition.outputs[0].op]
    while terms:
        term = terms.pop()
        if term.type in ("Identity", "LogicalAnd"):
            terms += [x.op for x in term.inputs]
            continue
        if term.type != "Less" or term.inputs[0].op not in positions:
            raise UnknownError
        counter, bound = term.inputs
        if bound.op in positions:
            bound = loop.inputs[positions[bound.op]]
        turns.append(_value(bound) - _start(loop, positions[counter.op]))
    return max(0, min(turns))


def _start(loop: Any, position: int) -> int:
    """First value of a loop variable that grows by one each turn."""
    _, body = _parts(loop)
    update = body.outputs[position].op
    while update.type == "Identity":
        update = update.inputs[0].op
    if update.type not in ("Add", "AddV2"):
        raise UnknownError
    before, step = update.inputs
    if before.op is not body.inputs[position].op:
        raise UnknownError
    if tf.get_static_value(step) != 1:
        raise UnknownError
    return _value(loop.inputs[position])


def _value(tensor: Any) -> int:
    """Value of an integer that the graph fixes."""
    value, op = tf.get_static_value(tensor), tensor.op
    if value is not None and value.size == 1:
        return int(value)
    if op.type in ("Identity", "Max"):  # the largest of one number
        return _value(op.inputs[0])
    if op.type in LOOPS:
        return _start(op, tensor.value_index) + _turns(op)
    raise UnknownError
