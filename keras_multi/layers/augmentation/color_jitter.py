"""Random colors."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation.base import (
    Augmentation,
    Batch,
    Draws,
    cast_image,
    per_image,
)
from keras_multi.layers.augmentation.checks import (
    check_bytes,
    check_value_range,
    require_colors,
)
from keras_multi.layers.augmentation.regions import between

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2


@keras.saving.register_keras_serializable("keras_multi")
class ColorJitter(Augmentation):
    """Changes brightness, contrast, saturation and hue, in this order.

    A factor is uniform in [1 - x, 1 + x], and not below 0; 1 changes nothing.
    Brightness multiplies, contrast moves away from the mean gray, saturation
    from each pixel's gray. Hue turns the color circle by a share of it that
    is uniform in [-hue, hue], in the HSV model (Smith, "Color gamut transform
    pairs", 1978). Values are cut to the range after each step.

    Args:
        brightness: largest change of the factor, not negative.
        contrast: largest change of the factor, not negative.
        saturation: largest change of the factor, not negative.
        hue: largest turn, in [0, 0.5].
        value_range: lowest and highest value of float images.
        **kwargs: arguments of `Augmentation`.

    Call arguments:
        inputs: as for `RandAugment`.
        training: whether anything is done.

    Returns:
        The same structure; images keep their dtype.

    Raises:
        ValueError: if an argument is out of range, and in `call` if images
            do not have three channels.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import ColorJitter
        >>> images = np.zeros((8, 32, 32, 3), "uint8")
        >>> ColorJitter(0.4, 0.4, 0.4, hue=0.1)(images).shape
        (8, 32, 32, 3)
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        value_range: tuple[float, float] = (0, 255),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (
            ("brightness", brightness),
            ("contrast", contrast),
            ("saturation", saturation),
        ):
            if value < 0:
                raise ValueError(
                    f"`{name}` must not be negative. Received: {name}={value}"
                )
        if not 0 <= hue <= 0.5:
            raise ValueError(f"`hue` must lie in [0, 0.5]. Received: hue={hue}")
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.value_range = check_value_range(value_range)

    def draw(self, batch_size: Any) -> Draws:
        return self.uniform(4, batch_size)

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        images = batch["images"]
        require_colors(images)
        check_bytes(images, self.value_range)
        low, high = self.value_range
        x = (ops.cast(images, "float32") - low) / (high - low)
        if self.brightness:
            x = _unit(x * _factor(draws[0], self.brightness))
        if self.contrast:
            mean = ops.mean(_gray(x), axis=(1, 2, 3), keepdims=True)
            x = _unit(mean + (x - mean) * _factor(draws[1], self.contrast))
        if self.saturation:
            gray = _gray(x)
            x = _unit(gray + (x - gray) * _factor(draws[2], self.saturation))
        if self.hue:
            turn = between(draws[3], -self.hue, self.hue)
            x = _unit(turn_hue(x, turn))
        x = cast_image(x * (high - low) + low, images.dtype)
        return {**batch, "images": x}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
            "hue": self.hue,
            "value_range": self.value_range,
        }


def turn_hue(x: Any, turn: Any) -> Any:
    """Turns the color circle.

    Args:
        x: float `(batch, height, width, 3)` in [0, 1].
        turn: share of the circle, `(batch,)`.
    """
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    value = ops.amax(x, axis=-1)
    chroma = value - ops.amin(x, axis=-1)
    some = ops.where(chroma > 0, chroma, 1.0)
    # In sixths of the circle, from red over green to blue.
    hue = ops.where(
        value == red,
        (green - blue) / some,
        ops.where(
            value == green,
            2.0 + (blue - red) / some,
            4.0 + (red - green) / some,
        ),
    )
    hue = hue + 6.0 * turn[:, None, None]
    channels = []
    for start in (5.0, 3.0, 1.0):
        k = ops.mod(start + hue, 6.0)
        part = ops.clip(ops.minimum(k, 4.0 - k), 0.0, 1.0)
        channels.append(value - chroma * part)
    return ops.stack(channels, axis=-1)


def _factor(draw: Any, change: float) -> Any:
    return per_image(between(draw, max(0.0, 1.0 - change), 1.0 + change))


def _gray(x: Any) -> Any:
    luma = sum(x[..., i] * weight for i, weight in enumerate(LUMA))
    return ops.expand_dims(luma, axis=-1)


def _unit(x: Any) -> Any:
    return ops.clip(x, 0.0, 1.0)
