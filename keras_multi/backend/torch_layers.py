"""Layers of Keras in the kernels that PyTorch has for them.

Keras computes a normalization from sums, copies what it convolves or pools to
another order of the axes and often back, and keeps kernels in an order that
is laid out anew at each use. While a training step is recorded, its layers
compute as those of PyTorch do, to the same numbers.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from torch.nn import functional

Pads = list[tuple[int, int]]  # before and after the rows and the columns


class FusedLayers:
    """The layers of a model that can compute in PyTorch's own kernels.

    They do while this context is open. Those of Keras's own classes take
    part, and no subclasses, whose calls may differ, unless they name the
    class of Keras that they compute as.

    Args:
        model: a built model.
    """

    def __init__(self, model: Any) -> None:
        layers = {id(layer): layer for layer in model._flatten_layers()}
        self._methods = [
            (layer.__dict__, name, functools.partial(fn, layer))
            for layer in layers.values()
            for name, fn in [KERNELS.get(_kind(layer), ("", None))]
            if fn is not None and name not in layer.__dict__
        ]

    def __enter__(self) -> None:
        for own, name, method in self._methods:
            own[name] = method

    def __exit__(self, *error: Any) -> None:
        for own, name, _ in self._methods:
            own.pop(name, None)


@torch.no_grad()
def lay_out_kernels(model: Any) -> None:
    """Puts kernels of convolutions into the order in which PyTorch has them.

    Their axes stay, so that nobody but a clock can tell; so do those of what
    the optimizer keeps of them.
    """
    shapes = set()
    for layer in model._flatten_layers():
        if _kind(layer) is keras.layers.Conv2D and layer.built:
            shapes.add(tuple(layer._kernel.shape))
            _lay_out(layer._kernel)
    for variable in model.optimizer.variables:
        if tuple(variable.shape) in shapes:
            _lay_out(variable)


def _kind(layer: Any) -> type:
    """The class whose results a layer gives."""
    own: type = type(layer)
    # Not one that it inherits: its calls may differ from those of its parent.
    kind: type = vars(own).get("computes_as", own)
    return kind


def _lay_out(variable: Any) -> None:
    value = variable._value
    value.data = _channels_last(value.permute(3, 2, 0, 1)).permute(2, 3, 1, 0)


def _channels_last(x: Any) -> Any:
    return x.contiguous(memory_format=torch.channels_last)


def _pads(
    x: Any,
    sizes: Sequence[int],
    strides: Sequence[int],
    padding: str,
    dilation: Sequence[int] = (1, 1),
) -> Pads:
    """What Keras pads rows and columns of `(B, C, H, W)` with."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    pads = []
    for side, size, stride, distance in zip(
        x.shape[2:], sizes, strides, dilation, strict=True
    ):
        reach = distance * (size - 1) + 1
        pad = max((-(-side // stride) - 1) * stride + reach - side, 0)
        pads.append((pad // 2, pad - pad // 2))
    return pads


def _convolve(layer: Any, inputs: Any, kernel: Any) -> Any:
    """`Conv2D.convolution_op`."""
    if layer.data_format != "channels_last":
        return type(layer).convolution_op(layer, inputs, kernel)
    kernel = keras.ops.convert_to_tensor(kernel).permute(3, 2, 0, 1)
    strides = tuple(layer.strides)
    if max(kernel.shape[2:]) == 1 and max(strides) > 1:
        # On a processor without AVX-512, PyTorch 2.13 frees memory twice in
        # the gradients of such a step (input channels that 8 does not divide).
        inputs = inputs[:, :: strides[0], :: strides[1]]
        strides = (1, 1)
    x = _channels_last(inputs.permute(0, 3, 1, 2))
    pads = _pads(
        x, kernel.shape[2:], strides, layer.padding, layer.dilation_rate
    )
    if any(before != after for before, after in pads):
        rows, columns = pads
        x, pads = functional.pad(x, (*columns, *rows)), [(0, 0), (0, 0)]
    outputs = functional.conv2d(
        x,
        _channels_last(kernel),
        None,
        strides,
        [before for before, _ in pads],
        layer.dilation_rate,
        x.shape[1] // kernel.shape[1],
    )
    return outputs.permute(0, 2, 3, 1)


def _convolve_depthwise(layer: Any, inputs: Any) -> Any:
    """`DepthwiseConv2D.call`."""
    if layer.data_format != "channels_last":
        return type(layer).call(layer, inputs)
    kernel = keras.ops.convert_to_tensor(layer.kernel)
    outputs = _convolve(layer, inputs, kernel.flatten(2)[:, :, None])
    if layer.use_bias:
        outputs = outputs + keras.ops.convert_to_tensor(layer.bias)
    if layer.activation is not None:
        outputs = layer.activation(outputs)
    return outputs


def _pool_max(layer: Any, inputs: Any) -> Any:
    """`MaxPooling2D.call`."""
    x = inputs.permute(0, 3, 1, 2)
    pads = _pads(x, layer.pool_size, layer.strides, layer.padding)
    # PyTorch pads both sides alike, and the end once more where a window
    # would else be cut.
    odd = [before != after for before, after in pads]
    if (
        layer.data_format != "channels_last"
        or any(
            more and stride == 1
            for more, stride in zip(odd, layer.strides, strict=True)
        )
        or (any(odd) and not all(odd))
    ):
        return type(layer).call(layer, inputs)
    outputs = functional.max_pool2d(
        _channels_last(x),
        layer.pool_size,
        layer.strides,
        [before for before, _ in pads],
        ceil_mode=any(odd),
    )
    return outputs.permute(0, 2, 3, 1)


def _normalize_batch(
    layer: Any, inputs: Any, training: Any = None, mask: Any = None
) -> Any:
    """`BatchNormalization.call`."""
    if (
        not (training and layer.trainable)
        or mask is not None
        or layer.renorm
        or layer.synchronized
        or layer.axis not in (-1, inputs.ndim - 1)
        or inputs.dtype not in (torch.float32, torch.bfloat16)
        or layer.variable_dtype != "float32"
        or inputs.numel() < 2 * inputs.shape[-1]
    ):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    gamma, beta = (
        None if variable is None else variable.value
        for variable in (layer.gamma, layer.beta)
    )
    outputs, mean, root = torch.native_batch_norm(
        inputs.movedim(-1, 1), gamma, beta, None, None, True, 0.0, layer.epsilon
    )
    with torch.no_grad():
        variance = root.pow(-2).sub(layer.epsilon).clamp_min(0)
        for variable, value in (
            (layer.moving_mean, mean),
            (layer.moving_variance, variance),
        ):
            variable._value.lerp_(value, 1 - layer.momentum)
    return outputs.movedim(1, -1)


# The method that each class computes in, and what takes its place.
KERNELS: dict[type, tuple[str, Callable[..., Any]]] = {
    keras.layers.BatchNormalization: ("call", _normalize_batch),
    keras.layers.Conv2D: ("convolution_op", _convolve),
    keras.layers.DepthwiseConv2D: ("call", _convolve_depthwise),
    keras.layers.MaxPooling2D: ("call", _pool_max),
}
