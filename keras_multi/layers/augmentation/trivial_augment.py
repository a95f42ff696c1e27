"""TrivialAugment."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation.operations import Ranges
from keras_multi.layers.augmentation.policy import Policy

LEVELS = 31  # of strength


@keras.saving.register_keras_serializable("keras_multi")
class TrivialAugment(Policy):
    """Carries out one random operation of random strength.

    The operations of `RandAugment` in the wide range of Müller and Hutter,
    "TrivialAugment: Tuning-free yet state-of-the-art data augmentation",
    2021 (section 3 and table 2): up to 135 degrees, a shear of 0.99, 32
    pixels, a factor of 1 - 0.99 or 1 + 0.99, six bits less, all levels
    inverted. The strength is one of 31 from none to full, all equally
    probable.

    Args:
        value_range: lowest and highest value of float images.
        interpolation: `"nearest"` or `"bilinear"`, of moved images.
        fill_level: gray level in [0, 255] of pixels from outside the image.
        **kwargs: arguments of `Augmentation`.

    Call arguments:
        inputs: as for `RandAugment`.
        training: whether anything is done.

    Returns:
        The same structure; images keep their dtype.

    Raises:
        ValueError: as `RandAugment`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import TrivialAugment
        >>> images = np.zeros((8, 32, 32, 3), "uint8")
        >>> TrivialAugment(seed=1)(images).shape
        (8, 32, 32, 3)
    """

    ranges = Ranges(
        posterize=6.0,
        enhance=0.99,
        rotate=135.0,
        shear=0.99,
        translate=0.0,
        translate_pixels=32.0,
    )

    def __init__(
        self,
        value_range: tuple[float, float] = (0, 255),
        interpolation: str = "nearest",
        fill_level: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            value_range,
            interpolation=interpolation,
            fill_level=fill_level,
            **kwargs,
        )

    def draw_strength(self, *shape: Any) -> Any:
        level = ops.floor(self.uniform(*shape) * LEVELS)
        return ops.minimum(level, LEVELS - 1) / (LEVELS - 1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["num_ops"], config["probability"]
        return config
