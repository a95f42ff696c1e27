"""Convolution as a matrix product."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from keras import ops


def sizes(
    lengths: Sequence[int],
    taps: Sequence[int],
    strides: Sequence[int],
    padding: str,
) -> list[int]:
    """Height and width of the outputs of a convolution.

    Args:
        lengths: height and width of the inputs.
        taps: height and width of the kernel.
        strides: along both.
        padding: `"valid"` or `"same"`, as Keras has them.
    """
    return [
        -(-(length - (size - 1 if padding == "valid" else 0)) // stride)
        for length, size, stride in zip(lengths, taps, strides, strict=True)
    ]


def paddings(
    lengths: Sequence[int],
    taps: Sequence[int],
    strides: Sequence[int],
    padding: str,
) -> list[tuple[int, int]]:
    """Zeros before and after the inputs, along the height and the width.

    Args:
        lengths: height and width of the inputs.
        taps: height and width of the kernel.
        strides: along both.
        padding: `"valid"` or `"same"`, as Keras has them.
    """
    if padding == "valid":
        return [(0, 0)] * len(lengths)
    totals = [
        max((count - 1) * stride + size - length, 0)
        for count, stride, size, length in zip(
            sizes(lengths, taps, strides, padding),
            strides,
            taps,
            lengths,
            strict=True,
        )
    ]
    return [(total // 2, total - total // 2) for total in totals]


def shifted(
    inputs: Any, taps: Sequence[int], strides: Sequence[int], padding: str
) -> Iterator[Any]:
    """Gives what each tap of a kernel meets, row by row of the kernel.

    Args:
        inputs: `(B, H, W, C)`.
        taps: height and width of the kernel.
        strides: along both.
        padding: `"valid"` or `"same"`, as Keras has them.

    Yields:
        Tensors with the height and the width of the outputs.
    """
    lengths = inputs.shape[1:3]
    zeros = paddings(lengths, taps, strides, padding)
    counts = sizes(lengths, taps, strides, padding)
    if any(map(any, zeros)):
        inputs = ops.pad(inputs, ((0, 0), *zeros, (0, 0)))
    rows, columns = (
        [
            slice(first, first + (count - 1) * stride + 1, stride)
            for first in range(size)
        ]
        for size, count, stride in zip(taps, counts, strides, strict=True)
    )
    for row in rows:
        for column in columns:
            yield inputs[:, row, column]


def multiply_patches(
    inputs: Any, kernel: Any, strides: Sequence[int], padding: str
) -> Any:
    """Gathers what each place of the outputs sees, and multiplies it.

    Chellapilla et al. 2006, "High Performance Convolutional Neural Networks
    for Document Processing", section 3.1.

    Args:
        inputs: `(B, H, W, C)`.
        kernel: `(height, width, C, filters)`.
        strides: along the height and the width.
        padding: `"valid"` or `"same"`, as Keras has them.

    Returns:
        `(B, H', W', filters)`.

    Example:
        >>> from keras import ops
        >>> y = multiply_patches(
        ...     ops.ones((1, 3, 3, 2)), ops.ones((2, 2, 2, 1)), (1, 1), "valid"
        ... )
        >>> ops.convert_to_numpy(y)[0, :, :, 0].tolist()
        [[8.0, 8.0], [8.0, 8.0]]
    """
    *taps, channels, filters = kernel.shape
    parts = list(shifted(inputs, taps, strides, padding))
    size = parts[0].shape[1:3]
    patches = ops.concatenate(parts, -1)  # (B, H', W', taps * C)
    depth = prod(taps) * channels
    # As one matrix: PyTorch multiplies the pictures one by one otherwise.
    outputs = ops.matmul(
        ops.reshape(patches, (-1, depth)),
        ops.reshape(kernel, (depth, filters)),
    )
    return ops.reshape(outputs, (-1, *size, filters))
