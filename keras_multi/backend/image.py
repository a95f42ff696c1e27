"""Work on images whose fastest form differs, in Keras's own operations."""

from typing import Any

import keras
from keras import ops


def blend(images: Any, partner: Any, weight: Any) -> Any:
    """Gives each image times its weight plus its partner times the rest.

    Args:
        images: uint8, which is rounded, or float; the images along the first
            axis.
        partner: integers `(batch,)`, number of the other image.
        weight: float32 in [0, 1], `(batch, 1, 1, 1)` or `(1, 1, 1, 1)`.
    """
    dtype = keras.backend.standardize_dtype(images.dtype)
    others = ops.cast(ops.take(images, partner, axis=0), "float32")
    mixed = others + (ops.cast(images, "float32") - others) * weight
    # It lies in [0, 255], so half a level more is below 256.
    return ops.cast(mixed + 0.5 if dtype == "uint8" else mixed, dtype)


def paste(own: Any, images: Any, partner: Any, rows: Any, columns: Any) -> Any:
    """Gives images with a rectangle of other ones.

    Args:
        own: `(batch, height, width, channels)`.
        images: of the same shape and dtype, of which the rectangles are.
        partner: integers `(batch,)`, number of the image to take it from.
        rows: bool `(batch, height)` or `(1, height)`, those of the rectangle.
        columns: bool `(batch, width)` or `(1, width)`.
    """
    inside = rows[:, :, None, None] & columns[:, None, :, None]
    return ops.where(inside, ops.take(images, partner, axis=0), own)


def literal(values: Any, dtype: str, like: Any) -> Any:
    """Makes a tensor of numbers in nested tuples, where `like` is."""
    return ops.convert_to_tensor(values, dtype)


def clip(x: Any, low: float, high: float) -> Any:
    """Gives the numbers between two closest to those of `x`."""
    return ops.clip(x, low, high)


def floor_to_bytes(x: Any) -> Any:
    """Cuts float32 to uint8, fractions down."""
    return ops.cast(ops.clip(x, 0.0, 255.0), "uint8")


def pack(images: Any) -> Any:
    """Makes one number of each pixel.

    Args:
        images: uint8 `(..., 3)`.

    Returns:
        int32 `(...)`, red in the lowest bits; the highest eight are 0 or,
        on PyTorch, any.
    """
    red, green, blue = (ops.cast(images[..., i], "int32") for i in range(3))
    return red | ops.left_shift(green, 8) | ops.left_shift(blue, 16)


def unpack(packed: Any) -> Any:
    """Does the reverse of `pack`, whatever the highest eight bits are."""
    # A byte keeps the lowest bits of what is cast to it.
    channels = [packed, *(ops.right_shift(packed, bits) for bits in (8, 16))]
    return ops.stack([ops.cast(c, "uint8") for c in channels], axis=-1)


def histogram(numbers: Any, size: int) -> Any:
    """Counts how often each number occurs.

    Args:
        numbers: int32 `(n,)`, in [0, size).
        size: length of the result.

    Returns:
        int32 `(size,)`.
    """
    return ops.segment_sum(ops.ones_like(numbers), numbers, size)
