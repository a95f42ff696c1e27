"""Saturation and sharpness."""

from typing import Any

from keras import ops

from keras_multi.layers.augmentation.base import per_image
from keras_multi.layers.augmentation.pointwise import LUMA, to_bytes


def saturate(images: Any, amount: Any) -> Any:
    """Moves images away from their gray versions.

    As `ImageEnhance.Color` of Pillow with the factor `1 + amount`.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        amount: float32 `(batch,)`; 0 leaves an image as it is, -1 makes it
            gray.

    Returns:
        uint8 `(batch, height, width, 3)`.
    """
    x = ops.cast(images, "float32")
    return to_bytes(x + per_image(amount) * (x - _gray(x)))


def sharpen(images: Any, amount: Any) -> Any:
    """Moves images away from their smooth versions.

    As `ImageEnhance.Sharpness` of Pillow with the factor `1 + amount`.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        amount: float32 `(batch,)`; 0 leaves an image as it is, -1 makes it
            smooth.

    Returns:
        uint8 `(batch, height, width, 3)`.
    """
    if min(images.shape[1:3]) < 3:
        return images
    x = ops.cast(images, "float32")
    edges = per_image(amount) * (x[:, 1:-1, 1:-1] - _smooth(x))
    return to_bytes(x + ops.pad(edges, ((0, 0), (1, 1), (1, 1), (0, 0))))


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
