"""Saturation and sharpness."""

from typing import Any

from keras import ops

from keras_multi.layers.augmentation.base import per_image
from keras_multi.layers.augmentation.pointwise import (
    LUMA,
    LUMA_ONE,
    to_bytes,
)


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
    planes = [ops.cast(images[..., i], "float32") for i in range(3)]
    gray, amount = _gray(planes), amount[:, None, None]
    moved = [to_bytes(x + amount * (x - gray)) for x in planes]
    return ops.stack(moved, axis=-1)


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


def _gray(planes: list[Any]) -> Any:
    """Luma, rounded. All sums are whole numbers that float32 has."""
    red, green, blue = (
        x * weight for x, weight in zip(planes, LUMA, strict=True)
    )
    return ops.floor((red + green + blue) / LUMA_ONE + 0.5)


def _smooth(x: Any) -> Any:
    """Mean of 3x3 pixels, the middle one counted five times, rounded.

    The border has no such mean, so the result is two pixels smaller. Sums
    of shifted images are faster than a convolution by channel.
    """
    rows = x[:, :-2] + x[:, 1:-1] + x[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    return ops.floor((total + 4.0 * x[:, 1:-1, 1:-1]) / 13.0 + 0.5)
