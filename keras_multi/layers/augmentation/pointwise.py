"""Operations on each value: posterize, solarize, brightness, contrast, ...

They are steps that every image of a group goes through, with arguments that
leave it as it is where the operation is not meant for it.
"""

from typing import Any

from keras import ops

# A product that should be a whole number may fall just below it.
ROUNDING = 1e-3

# ITU-R 601-2, in 1/65536, as `Image.convert("L")` of Pillow.
GRAY = (19595, 38470, 7471)


def adjust(
    images: Any, threshold: Any, bits: Any, scale: Any, offset: Any
) -> Any:
    """Inverts bright values, drops low bits, multiplies and adds.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        threshold: int32 `(batch,)`: values from here on are inverted.
        bits: int32 `(batch,)`: number of high bits that stay.
        scale: float32 `(batch, 3)`.
        offset: float32 `(batch, 3)`.

    Returns:
        uint8 `(batch, height, width, 3)`.
    """
    x = ops.cast(images, "int32")
    x = ops.where(x >= _wide(threshold), 255 - x, x)
    dropped = 8 - _wide(bits)
    x = ops.left_shift(ops.right_shift(x, dropped), dropped)
    x = ops.cast(x, "float32")
    x = x * scale[:, None, None, :] + offset[:, None, None, :]
    return to_bytes(x)


def contrast_stretch(images: Any) -> tuple[Any, Any]:
    """Scale and offset, `(batch, 3)`, that stretch each channel to 0 to 255.

    A channel of one value stays as it is.
    """
    low = ops.cast(ops.min(images, axis=(1, 2)), "float32")
    high = ops.cast(ops.max(images, axis=(1, 2)), "float32")
    flat = high <= low
    scale = 255.0 / ops.where(flat, 255.0, high - low)
    return scale, ops.where(flat, 0.0, -low * scale)


def gray(images: Any) -> Any:
    """Luma of bytes `(..., 3)`, a whole number: int32 `(..., 1)`."""
    red, green, blue = (ops.cast(images[..., i], "int32") for i in range(3))
    luma = red * GRAY[0] + green * GRAY[1] + blue * GRAY[2]
    return ops.expand_dims(ops.right_shift(luma + (1 << 15), 16), axis=-1)


def mean_gray(images: Any) -> Any:
    """Mean luma of each image, rounded: float32 `(batch,)`."""
    mean = ops.mean(ops.cast(gray(images), "float32"), axis=(1, 2, 3))
    return ops.floor(mean + 0.5)


def to_bytes(x: Any) -> Any:
    """Cuts floats to bytes, fractions down, as Pillow does."""
    return ops.cast(ops.clip(x + ROUNDING, 0.0, 255.0), "uint8")


def _wide(values: Any) -> Any:
    return values[:, None, None, None]
