"""CutMix."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation.base import (
    Draws,
)
from keras_multi.layers.augmentation.beta import symmetric_beta
from keras_multi.layers.augmentation.boxes import area
from keras_multi.layers.augmentation.checks import (
    check_positive,
)
from keras_multi.layers.augmentation.mixing import Mixing, Mixture


@keras.saving.register_keras_serializable("keras_multi")
class CutMix(Mixing):
    """Pastes a rectangle of another image, and mixes the labels by area.

    Yun et al., "CutMix: Regularization strategy to train strong classifiers
    with localizable features", 2019, section 3: the rectangle has a share of
    1 - lambda of the image, lambda from Beta(alpha, alpha), and its center
    anywhere. What lies outside of the image is cut off, and the labels have
    exactly the shares of the pixels.

    Boxes that the rectangle hides shrink or are dropped, and those of the
    other image are cut to the rectangle; masks are pasted like images.

    Args:
        alpha: positive number, of the beta distribution; 1 is uniform.
        num_classes: number of classes, needed where labels are integers.
        label_smoothing: share of each label that is spread over all classes.
        per_sample: whether each image has a rectangle of its own, or the
            whole batch has one, as in the paper.
        probability: with which anything is pasted.
        **kwargs: arguments of `Augmentation`.

    Call arguments:
        inputs: images `(batch, height, width, channels)`, uint8 or float, or
            a dictionary of `"images"` and any of `"labels"`,
            `"bounding_boxes"` and `"segmentation_masks"` (see `Augmentation`).
        training: whether anything is done.

    Returns:
        The same structure; images keep their dtype. In training, labels are
        float32 `(batch, classes)`, where one that is out of range counts for
        no class, and there are twice as many boxes.

    Raises:
        ValueError: if an argument is out of range, and in `call` if labels
            are integers and `num_classes` is missing, or if shapes do not
            fit.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import CutMix
        >>> batch = {"images": np.zeros((8, 32, 32, 3), "uint8"),
        ...          "labels": np.arange(8)}
        >>> CutMix(num_classes=10)(batch)["labels"].shape
        (8, 10)
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive("alpha", alpha)
        self.alpha = alpha

    def mixture(self, draws: Draws, height: int, width: int) -> Mixture:
        return cut(draws, self.alpha, self.probability, height, width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


def cut(
    draws: Any, alpha: float, probability: float, height: int, width: int
) -> Mixture:
    """Draws a rectangle, an empty one where nothing is mixed.

    Args:
        draws: uniform, at least five rows.
        alpha: of the beta distribution.
        probability: of mixing.
        height: of the images.
        width: of the images.
    """
    mixed = ops.cast(draws[2] < probability, "float32")
    side = ops.sqrt(1.0 - symmetric_beta(draws[0], draws[1], alpha)) * mixed
    x, y = ops.floor(draws[3] * width), ops.floor(draws[4] * height)
    half_width = ops.floor(ops.floor(side * width) / 2)
    half_height = ops.floor(ops.floor(side * height) / 2)
    region = ops.stack(
        [
            ops.clip(x - half_width, 0, width),
            ops.clip(y - half_height, 0, height),
            ops.clip(x + half_width, 0, width),
            ops.clip(y + half_height, 0, height),
        ],
        axis=1,
    )
    return Mixture(1.0 - area(region) / (height * width), region=region)
