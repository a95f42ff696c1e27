"""Products with a kernel, and what can be merged into them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from keras.src.layers.convolutional.base_conv import BaseConv
from keras.src.layers.convolutional.base_depthwise_conv import (
    BaseDepthwiseConv,
)
from keras.src.ops.nn import Gelu, Relu, Relu6, Sigmoid, Silu
from keras.src.ops.numpy import Add, Matmul, Tanh

from keras_multi.inference.graph import Graph, Slot, Step
from keras_multi.layers import Conv2D

ELEMENTWISE = (
    *(Gelu, Sigmoid, Silu, Tanh),
    *(keras.layers.LeakyReLU, keras.layers.ELU),
)


@dataclass(frozen=True, eq=False)
class Affine:
    """`activation(product(x, kernel) + bias)`.

    Attributes:
        kind: `"dense"`, `"convolution"` or `"depthwise"`.
        name: of the layer or operation that it comes from.
        kernel: variable, as the layer of Keras has it.
        bias: variable over the channels of the output, or `None`.
        activation: a function, or `None`.
        options: of the convolution: `strides`, `padding`, `dilation_rate`
            and `data_format`.
    """

    kind: str
    name: str
    kernel: Any
    bias: Any
    activation: Callable[[Any], Any] | None
    options: dict[str, Any]

    @property
    def variables(self) -> list[Any]:
        """The kernel, and the bias if there is one."""
        return [self.kernel] + ([] if self.bias is None else [self.bias])

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in the outputs."""
        return 1 if self.options.get("data_format") == "channels_first" else -1

    def product(self, x: Any) -> Any:
        """Multiplies as Keras does."""
        if self.kind == "dense":
            return ops.matmul(x, self.kernel)
        if self.kind == "convolution":
            return ops.conv(x, self.kernel, **self.options)
        return ops.depthwise_conv(x, self.kernel, **self.options)

    def finish(self, y: Any) -> Any:
        """Adds the bias to a product and applies the activation."""
        if self.bias is not None:
            shape = [1] * len(y.shape)
            shape[self.channel_axis] = -1
            y = ops.add(y, ops.reshape(self.bias, shape))
        return y if self.activation is None else self.activation(y)

    def __call__(self, x: Any) -> Any:
        """Computes it all as Keras does."""
        return self.finish(self.product(x))


@dataclass(frozen=True, eq=False)
class ScaleAndShift:
    """A batch normalization with fixed moments: `scale * x + shift`."""

    scale: Any
    shift: Any

    @property
    def variables(self) -> list[Any]:
        """Both, ready to be broadcast."""
        return [self.scale, self.shift]

    def __call__(self, x: Any) -> Any:
        """Scales and shifts."""
        return ops.add(ops.multiply(x, self.scale), self.shift)


def merge(graph: Graph) -> list[str]:
    """Merges what follows a product into it, in place.

    A batch normalization becomes part of the kernel and the bias, as Jacob et
    al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", equation 14: with the scale
    `s = gamma / sqrt(variance + epsilon)` the kernel becomes `s * kernel` and
    the bias `s * (bias - mean) + beta`. An addition of a vector becomes the
    bias, an activation is applied at once. Only where nothing else reads what
    is between. A normalization without a product before it becomes a scale
    and a shift.

    Args:
        graph: its steps with products get an `Affine` as operation.

    Returns:
        Names of the normalizations that were merged.
    """
    reads = Counter(slot for step in graph.steps for slot in step.reads())
    leaves = tree.flatten(graph.outputs)
    reads.update(slot for slot in leaves if isinstance(slot, Slot))
    given: dict[Slot, Step] = {}
    merged, kept = [], []
    for step in graph.steps:
        before = given.get(_only_read(step, reads))
        joined = before and _join(before.operation, step)
        if before and joined:
            if isinstance(step.operation, keras.layers.BatchNormalization):
                merged.append(step.operation.name)
            before.operation, before.outputs = joined, step.outputs
            given[step.outputs[0]] = before
            continue
        affine = _affine(step)
        if affine is not None:
            step.operation = affine
            step.args, step.kwargs = (step.reads()[0],), {}
            given[step.outputs[0]] = step
        elif _is_fixed_normalization(step):
            step.operation = _scale_and_shift(step.operation, step.reads()[0])
            step.args, step.kwargs = (step.reads()[0],), {}
        kept.append(step)
    graph.steps[:] = kept
    return merged


def _only_read(step: Step, reads: Counter[Slot]) -> Any:
    """The slot that a step reads, if it is one and nobody else reads it."""
    slots = step.reads()
    return slots[0] if len(slots) == 1 and reads[slots[0]] == 1 else None


def _affine(step: Step) -> Affine | None:
    """Recognises a product with a kernel."""
    layer, (slot, *others) = step.operation, (*step.reads(), None)
    if not isinstance(slot, Slot) or any(others) or slot.dtype != "float32":
        return None
    if isinstance(layer, Matmul):
        return _affine_of_matmul(step)
    call = getattr(type(layer), "call", None)
    if call is keras.layers.Dense.call:
        return Affine(
            "dense",
            layer.name,
            layer.kernel,
            layer.bias,
            _unless_linear(layer.activation),
            {},
        )
    plain = getattr(type(layer), "convolution_op", None) in (
        BaseConv.convolution_op,
        Conv2D.convolution_op,
    )
    if call is BaseConv.call and plain:
        kind = "convolution"
    elif call is BaseDepthwiseConv.call:
        kind = "depthwise"
    else:
        return None
    rank = layer.rank
    strides = layer.strides
    strides = (strides,) * rank if isinstance(strides, int) else tuple(strides)
    dilation = layer.dilation_rate
    return Affine(
        kind,
        layer.name,
        layer.kernel,
        layer.bias if layer.use_bias else None,
        _unless_linear(layer.activation),
        {
            "strides": strides,
            "padding": layer.padding,
            "dilation_rate": (
                (dilation,) * rank
                if isinstance(dilation, int)
                else tuple(dilation)
            ),
            "data_format": layer.data_format,
        },
    )


def _affine_of_matmul(step: Step) -> Affine | None:
    if len(step.args) != 2 or not isinstance(step.args[0], Slot):
        return None
    kernel = step.args[1]
    if not isinstance(kernel, keras.Variable) or len(kernel.shape) != 2:
        return None
    if len(step.args[0].shape) < 2:
        return None
    return Affine("dense", step.operation.name, kernel, None, None, {})


def _unless_linear(activation: Any) -> Any:
    return None if activation is keras.activations.linear else activation


def _join(affine: Any, step: Step) -> Affine | None:
    """Merges a step into the product before it, if it can be."""
    if not isinstance(affine, Affine) or affine.activation is not None:
        return None
    layer = step.operation
    if _is_fixed_normalization(step):
        rank = len(step.outputs[0].shape)
        if layer.axis % rank != affine.channel_axis % rank:
            return None
        return _normalized(affine, layer)
    if isinstance(layer, Add) and affine.bias is None:
        others = [x for x in step.args if not isinstance(x, Slot)]
        channels = (step.outputs[0].shape[affine.channel_axis],)
        if (
            len(others) == 1
            and isinstance(others[0], keras.Variable)
            and tuple(others[0].shape) == channels
            and affine.channel_axis == -1
        ):
            return replace(affine, bias=others[0])
        return None
    activation = _activation(layer)
    if activation is None or step.kwargs or len(step.args) != 1:
        return None
    return replace(affine, activation=_unless_linear(activation))


def _activation(operation: Any) -> Any:
    """The activation that a layer or operation of one input applies."""
    kind = type(operation)
    if kind is keras.layers.Activation:
        return operation.activation
    if kind is keras.layers.ReLU:
        if operation.negative_slope or operation.threshold:
            return operation.call
        limit = operation.max_value
        known = {None: keras.activations.relu, 6: keras.activations.relu6}
        return known.get(limit, operation.call)
    if kind is Relu:
        return keras.activations.relu
    if kind is Relu6:
        return keras.activations.relu6
    return operation.call if kind in ELEMENTWISE else None


def _is_fixed_normalization(step: Step) -> bool:
    layer = step.operation
    return (
        type(layer) is keras.layers.BatchNormalization
        and not step.kwargs.get("training")
        and step.kwargs.get("mask") is None
        and len(step.reads()) == 1
    )


def _factors(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of a normalization, in float64."""
    mean, variance = map(_exact, (layer.moving_mean, layer.moving_variance))
    scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * _exact(layer.gamma)
    shift = -mean * scale
    return scale, shift + _exact(layer.beta) if layer.center else shift


def _exact(variable: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(variable), "float64")


def _normalized(affine: Affine, layer: Any) -> Affine:
    """The product with a normalization merged into it."""
    scale, shift = _factors(layer)
    kernel = _exact(affine.kernel)
    if affine.kind == "depthwise":
        kernel = kernel * scale.reshape(kernel.shape[-2:])
    else:
        kernel = kernel * scale
    if affine.bias is not None:
        shift = shift + scale * _exact(affine.bias)
    return replace(affine, kernel=fixed(kernel), bias=fixed(shift))


def _scale_and_shift(layer: Any, slot: Slot) -> ScaleAndShift:
    shape = [1] * len(slot.shape)
    shape[layer.axis] = -1
    scale, shift = (part.reshape(shape) for part in _factors(layer))
    return ScaleAndShift(fixed(scale), fixed(shift))


def fixed(value: Any) -> keras.Variable:
    """Makes a float32 variable that does not train."""
    return keras.Variable(value, trainable=False, dtype="float32")
