"""RandAugment."""

import math
import re
from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation.policy import Policy


@keras.saving.register_keras_serializable("keras_multi")
class RandAugment(Policy):
    """Carries out random operations of one strength.

    Each image undergoes `num_ops` of the fourteen operations of Cubuk et al.,
    "RandAugment: Practical automated data augmentation with a reduced search
    space", 2020 (section 3): identity, auto contrast, equalize, rotate,
    solarize, color, posterize, contrast, brightness, sharpness, shear and
    translate in x and y. Each is equally probable for each image. What they
    do at the highest magnitude: 30 degrees, a shear of 0.3, a translation by
    0.45 of the side, a factor of 1 - 0.9 or 1 + 0.9, four bits less, all
    levels inverted; at magnitude 0, nothing.

    They equal those of Pillow (`ImageOps`, `ImageEnhance`,
    `Image.transform`). Images are rounded to 256 levels.

    Args:
        value_range: lowest and highest value of float images.
        num_ops: operations on each image, one after the other.
        magnitude: strength, in `[0, max_magnitude]`.
        magnitude_std: standard deviation of a normal distribution around
            `magnitude`, of which each operation on each image has a draw of
            its own.
        max_magnitude: the scale of the two: 10 as in the paper's code and in
            option strings. torchvision counts to 30.
        probability: with which an operation is carried out.
        interpolation: `"nearest"` or `"bilinear"`, of moved images.
        fill_level: gray level in [0, 255] of pixels from outside the image.
        **kwargs: arguments of `Augmentation`.

    Call arguments:
        inputs: images `(batch, height, width, 3)`, uint8 or float, or a
            dictionary of `"images"` and any of `"labels"`,
            `"bounding_boxes"` and `"segmentation_masks"` (see `Augmentation`).
        training: whether anything is done.

    Returns:
        The same structure; images keep their dtype.

    Raises:
        ValueError: if an argument is out of range, and in `call` if images
            do not have three channels or are larger than 4096 pixels.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import RandAugment
        >>> images = np.zeros((8, 32, 32, 3), "uint8")
        >>> RandAugment(num_ops=2, magnitude=9, seed=1)(images).shape
        (8, 32, 32, 3)
        >>> layer = RandAugment.from_string("rand-m9-n2-mstd0.5")
        >>> layer.num_ops, layer.magnitude, layer.magnitude_std
        (2, 9.0, 0.5)
    """

    def __init__(
        self,
        value_range: tuple[float, float] = (0, 255),
        num_ops: int = 2,
        magnitude: float = 9.0,
        magnitude_std: float = 0.0,
        max_magnitude: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(value_range, num_ops, **kwargs)
        if not 0 <= magnitude <= max_magnitude or max_magnitude == 0:
            raise ValueError(
                "`magnitude` must lie in [0, max_magnitude]. Received: "
                f"magnitude={magnitude}, max_magnitude={max_magnitude}"
            )
        if magnitude_std < 0:
            raise ValueError(
                "`magnitude_std` must not be negative. "
                f"Received: magnitude_std={magnitude_std}"
            )
        self.magnitude = float(magnitude)
        self.magnitude_std = float(magnitude_std)
        self.max_magnitude = float(max_magnitude)

    @classmethod
    def from_string(cls, options: str, **kwargs: Any) -> "RandAugment":
        """Reads options as timm writes them.

        Args:
            options: `"rand"` and, each after a hyphen, any of `m` magnitude,
                `n` number of operations, `mstd` standard deviation of the
                magnitude, `p` probability of each operation, and `inc1`,
                which is always the case: strength rises with magnitude.
            **kwargs: other arguments of the layer.

        Raises:
            ValueError: if an option is unknown or not a number.
        """
        names = {
            "m": "magnitude",
            "n": "num_ops",
            "mstd": "magnitude_std",
            "p": "probability",
        }
        first, *rest = options.split("-")
        found: dict[str, Any] = {}
        for option in rest:
            match = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", option)
            if option != "inc1" and (not match or match[1] not in names):
                raise ValueError(
                    "Options must look like 'rand-m9-n2-mstd0.5'. "
                    f"Received: options={options!r}"
                )
            if match and match[1] in names:
                found[names[match[1]]] = float(match[2])
        if first != "rand":
            raise ValueError(
                f"Options must begin with 'rand'. Received: options={options!r}"
            )
        if "num_ops" in found:
            found["num_ops"] = int(found["num_ops"])
        return cls(**{**found, **kwargs})

    def draw_strength(self, *shape: Any) -> Any:
        strength = self.magnitude / self.max_magnitude
        if self.magnitude_std == 0:
            return ops.full(shape, strength, dtype="float32")
        # Box and Muller 1958.
        u, v = self.uniform(*shape), self.uniform(*shape)
        normal = ops.sqrt(-2 * ops.log(1 - u)) * ops.cos(2 * math.pi * v)
        std = self.magnitude_std / self.max_magnitude
        return ops.clip(strength + std * normal, 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "magnitude": self.magnitude,
            "magnitude_std": self.magnitude_std,
            "max_magnitude": self.max_magnitude,
        }
