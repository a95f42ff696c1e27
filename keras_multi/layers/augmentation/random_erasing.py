"""Random erasing."""

import math
from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation import boxes, regions
from keras_multi.layers.augmentation.base import (
    Augmentation,
    Batch,
    Draws,
)
from keras_multi.layers.augmentation.checks import (
    check_interval,
    check_share,
)


@keras.saving.register_keras_serializable("keras_multi")
class RandomErasing(Augmentation):
    """Fills a random rectangle of an image.

    Zhong et al., "Random erasing data augmentation", 2020, algorithm 1. A
    rectangle that is too long is cut to the side of the image instead of
    being drawn again. Masks have class 0 in it; boxes that it hides shrink
    or are dropped.

    Args:
        probability: with which an image has a rectangle.
        scale: least and largest share of the image's area.
        ratio: least and largest width over height, whose logarithm is
            uniform.
        fill_value: value of the pixels in the rectangle.
        **kwargs: arguments of `Augmentation`.

    Call arguments:
        inputs: as for `CutMix`.
        training: whether anything is done.

    Returns:
        The same structure; images keep their dtype.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import RandomErasing
        >>> images = np.ones((2, 8, 8, 3), "float32")
        >>> layer = RandomErasing(probability=1.0, scale=(1.0, 1.0),
        ...                       ratio=(1.0, 1.0))
        >>> float(np.max(layer(images)))
        0.0
    """

    def __init__(
        self,
        probability: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.4),
        ratio: tuple[float, float] = (0.3, 1 / 0.3),
        fill_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_share("probability", probability)
        self.probability = probability
        self.scale = check_interval("scale", scale, 0, 1)
        self.ratio = check_interval("ratio", ratio, 1e-3, 1e3)
        self.fill_value = fill_value

    def draw(self, batch_size: Any) -> Draws:
        return self.uniform(5, batch_size)

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        images = batch["images"]
        height, width = images.shape[1:3]
        region = regions.place(
            regions.between(draws[0], *self.scale),
            ops.exp(regions.between(draws[1], *map(math.log, self.ratio))),
            draws[2],
            draws[3],
            height,
            width,
        )
        region = ops.where((draws[4] < self.probability)[:, None], region, 0.0)
        inside = regions.covered(region, height, width)
        value = ops.cast(self.fill_value, images.dtype)
        erased = {
            **batch,
            "images": ops.where(inside[..., None], value, images),
        }
        if "segmentation_masks" in batch:
            masks = batch["segmentation_masks"]
            erased["segmentation_masks"] = ops.where(
                inside, ops.zeros_like(masks), masks
            )
        if "bounding_boxes" in batch:
            erased["bounding_boxes"] = boxes.hide(
                batch["bounding_boxes"], region, self.min_visibility
            )
        return erased

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "probability": self.probability,
            "scale": self.scale,
            "ratio": self.ratio,
            "fill_value": self.fill_value,
        }
