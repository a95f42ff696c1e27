"""Operations on each value: posterize, solarize, brightness, contrast, ...

Every image of a group goes through all steps, with arguments that leave it
as it is where a step is not meant for it. They work on lines, `(batch,
height, 3 width)`, since frameworks are slow where an axis of three values is
the one that broadcasts or stays.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_multi import backend

literal: Callable[..., Any] = backend.framework().literal
floor_to_bytes: Callable[..., Any] = backend.framework().floor_to_bytes

# A product that should be a whole number may fall just below it.
ROUNDING = 1e-3

# ITU-R 601-2 in 65536ths, as `Image.convert("L")`.
LUMA = (19595.0, 38470.0, 7471.0)
LUMA_ONE = 65536.0


def solarize(lines: Any, threshold: Any) -> Any:
    """Inverts bright values.

    Args:
        lines: uint8.
        threshold: int32 `(batch,)` from 0 to 256: values from here on are
            inverted.
    """
    first = ops.cast(ops.minimum(threshold, 255), "uint8")
    flip = ops.cast(ops.where(threshold < 256, 255, 0), "uint8")
    bright = ops.cast(lines >= first[:, None, None], "uint8")
    return ops.bitwise_xor(lines, bright * flip[:, None, None])


def posterize(lines: Any, dropped: Any) -> Any:
    """Sets the lowest bits of bytes to zero, `dropped` int32 `(batch,)`."""
    kept = 256 - ops.left_shift(ops.ones_like(dropped), dropped)
    mask = ops.cast(ops.minimum(kept, 255), "uint8")
    return ops.bitwise_and(lines, mask[:, None, None])


def scale(lines: Any, factor: Any, offset: Any) -> Any:
    """Multiplies and adds, one number for each channel, and gives bytes.

    Args:
        lines: float32.
        factor: float32 `(batch, 3)`.
        offset: float32 `(batch, 3)`.
    """
    width = lines.shape[2] // 3
    factor = ops.tile(factor, (1, width))[:, None, :]
    offset = ops.tile(offset + ROUNDING, (1, width))[:, None, :]
    return floor_to_bytes(lines * factor + offset)


def stretch(lines: Any) -> tuple[Any, Any]:
    """Factors and offsets that take each channel to the range 0 to 255.

    A channel of one value stays as it is.

    Args:
        lines: uint8.

    Returns:
        Two float32 `(batch, 3)`.
    """
    low = ops.amin(_by_channel(ops.amin(lines, axis=1)), axis=1)
    high = ops.amax(_by_channel(ops.amax(lines, axis=1)), axis=1)
    low, high = ops.cast(low, "float32"), ops.cast(high, "float32")
    flat = high <= low
    factor = 255.0 / ops.where(flat, 255.0, high - low)
    return factor, ops.where(flat, 0.0, -low * factor)


def mean_gray(lines: Any) -> Any:
    """Mean luma of float32 images, rounded: float32 `(batch,)`."""
    channels = ops.mean(_by_channel(ops.mean(lines, axis=1)), axis=1)
    luma = literal(LUMA, "float32", channels)
    return ops.floor(ops.sum(channels * luma, axis=1) / LUMA_ONE + 0.5)


def to_bytes(x: Any) -> Any:
    """Cuts floats to bytes, fractions down, as Pillow does."""
    return floor_to_bytes(x + ROUNDING)


def _by_channel(line: Any) -> Any:
    return ops.reshape(line, (-1, line.shape[1] // 3, 3))
