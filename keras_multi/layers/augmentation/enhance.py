"""Saturation and sharpness."""

from typing import Any

from keras import ops

from keras_multi.layers.augmentation.pointwise import LUMA, to_bytes


def enhance(images: Any, color: Any, sharpness: Any) -> Any:
    """Moves images away from their gray and their smooth versions.

    As `ImageEnhance.Color` and `ImageEnhance.Sharpness` of Pillow, with
    factors `1 + color` and `1 + sharpness`.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        color: float32 `(batch,)`; 0 leaves an image as it is, -1 makes it
            gray.
        sharpness: float32 `(batch,)`; 0 leaves an image as it is, -1 makes
            it smooth.

    Returns:
        uint8 `(batch, height, width, 3)`.
    """
    height, width = images.shape[1:3]
    x = ops.cast(images, "float32")
    color = color[:, None, None, None]
    away = color * (x - _gray(x))
    if height > 2 and width > 2:
        inner = x[:, 1:-1, 1:-1]
        edges = sharpness[:, None, None, None] * (inner - _smooth(x))
        away = away + ops.pad(edges, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return to_bytes(x + away)


def _gray(x: Any) -> Any:
    """Luma, rounded, once for each channel."""
    weights = ops.convert_to_tensor([[weight] * 3 for weight in LUMA])
    return ops.floor(ops.matmul(x, ops.cast(weights, x.dtype)) + 0.5)


def _smooth(x: Any) -> Any:
    """Mean of 3x3 pixels, the middle one counted five times, rounded.

    The border has no such mean, so the result is two pixels smaller. Sums
    of shifted images are faster than a convolution by channel.
    """
    rows = x[:, :-2] + x[:, 1:-1] + x[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    return ops.floor((total + 4.0 * x[:, 1:-1, 1:-1]) / 13.0 + 0.5)
