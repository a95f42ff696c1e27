"""The ways to compute a product, of which the fastest is to be found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import keras
from keras import ops

from keras_multi import backend
from keras_multi.inference.affine import Affine, fixed
from keras_multi.layers.patches import multiply_patches, paddings, shifted

PLAIN = "keras"
MAX_PATCH_BYTES = 2**28
RELUS = {keras.activations.relu: "relu", keras.activations.relu6: "relu6"}


@dataclass(frozen=True)
class Kernel:
    """One way to compute a product with all that belongs to it.

    Attributes:
        variables: what it reads.
        compute: from the inputs to the outputs.
    """

    variables: Sequence[Any]
    compute: Callable[[Any], Any]


def ways(affine: Affine, shape: Sequence[int]) -> dict[str, Any]:
    """Names the ways that could be fast here, Keras's first.

    Args:
        affine: a product.
        shape: of its inputs, batch size included.

    Returns:
        A function without arguments for each way, which makes the `Kernel`:
        it may copy the weights.
    """
    found: dict[str, Any] = {
        PLAIN: lambda: Kernel(affine.variables, affine),
    }
    if backend.framework().device()[0] != "cpu":
        return found
    if affine.kind == "dense":
        found["transposed"] = lambda: _transposed(affine)
        return found
    options = affine.options
    if options["data_format"] != "channels_last" or len(shape) != 4:
        return found
    packed = backend.framework().packed_kernel()
    if packed is not None:
        found["packed"] = lambda: _packed(affine, shape, packed)
    if max(options["dilation_rate"]) > 1:
        return found
    strides, padding = options["strides"], options["padding"]
    taps = affine.kernel.shape[:2]
    if affine.kind == "depthwise":
        if affine.kernel.shape[-1] == 1:
            found["shifts"] = lambda: _shifts(affine)
        return found
    if affine.kernel.shape[2] != shape[-1]:  # in groups
        return found
    if tuple(taps) == (1, 1):
        found["product"] = lambda: _product(affine)
    elif 4 * prod(shape) * prod(taps) // prod(strides) <= MAX_PATCH_BYTES:
        found["patches"] = lambda: Kernel(
            affine.variables,
            lambda x: affine.finish(
                multiply_patches(x, affine.kernel, strides, padding)
            ),
        )
    return found


def _transposed(affine: Affine) -> Kernel:
    """A matrix that lies as `(out, in)`, with the bias in one operation."""
    framework = backend.framework()
    linear = framework.linear
    matrix = ops.transpose(ops.convert_to_tensor(affine.kernel))
    weight = fixed(framework.constant(matrix))
    activate = affine.activation or (lambda x: x)

    def compute(x: Any) -> Any:
        shape = tuple(x.shape)
        flat = ops.reshape(x, (1, -1, shape[-1]))
        bias = None if affine.bias is None else affine.bias.value
        outputs = linear(flat, weight.value, bias)
        return activate(ops.reshape(outputs, (*shape[:-1], -1)))

    return Kernel([weight, *affine.variables[1:]], compute)


def _product(affine: Affine) -> Kernel:
    """A kernel of one place as a matrix."""
    rows, columns = affine.options["strides"]

    def compute(x: Any) -> Any:
        matrix = ops.convert_to_tensor(affine.kernel)[0, 0]
        if rows > 1 or columns > 1:
            x = x[:, ::rows, ::columns]
        return affine.finish(ops.matmul(x, matrix))

    return Kernel(affine.variables, compute)


def _shifts(affine: Affine) -> Kernel:
    """A sum over the taps of a depthwise kernel."""
    strides, padding = affine.options["strides"], affine.options["padding"]
    taps = affine.kernel.shape[:2]

    def compute(x: Any) -> Any:
        weights = ops.reshape(affine.kernel, (prod(taps), -1))
        parts = shifted(x, taps, strides, padding)
        outputs = next(parts) * weights[0]
        for place, part in enumerate(parts, 1):
            outputs = outputs + part * weights[place]
        return affine.finish(outputs)

    return Kernel(affine.variables, compute)


def _packed(affine: Affine, shape: Sequence[int], packed: Any) -> Kernel:
    """A kernel in the layout of the library that the backend calls."""
    options = affine.options
    kernel = affine.kernel
    if affine.kind == "depthwise":
        kernel = fixed(ops.reshape(kernel, (*kernel.shape[:2], 1, -1)))
    spans = [
        (size - 1) * rate + 1
        for size, rate in zip(
            kernel.shape[:2], options["dilation_rate"], strict=True
        )
    ]
    zeros = paddings(shape[1:3], spans, options["strides"], options["padding"])
    relu = RELUS.get(affine.activation) if affine.activation else None
    rest = None if relu else affine.activation

    def compute(x: Any) -> Any:
        outputs = packed.convolve(
            x,
            kernel,
            zeros,
            options["strides"],
            options["dilation_rate"],
            None if affine.bias is None else affine.bias.value,
            relu,
        )
        if outputs is None:
            return affine(x)
        return outputs if rest is None else rest(outputs)

    return Kernel([kernel, *affine.variables], compute)
