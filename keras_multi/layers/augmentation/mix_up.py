"""MixUp."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation.base import (
    Draws,
)
from keras_multi.layers.augmentation.beta import symmetric_beta
from keras_multi.layers.augmentation.checks import (
    check_positive,
)
from keras_multi.layers.augmentation.mixing import Mixing, Mixture


@keras.saving.register_keras_serializable("keras_multi")
class MixUp(Mixing):
    """Blends images with others, and their labels in the same proportion.

    Zhang et al., "mixup: Beyond empirical risk minimization", 2018, equation
    1: lambda times an image plus 1 - lambda times another one, lambda from
    Beta(alpha, alpha).

    The boxes of both images are kept, and the mask of the one that has the
    larger share.

    Args:
        alpha: positive number, of the beta distribution; 1 is uniform.
        num_classes: number of classes, needed where labels are integers.
        label_smoothing: share of each label that is spread over all classes.
        per_sample: whether each image has a lambda of its own, or the whole
            batch has one.
        probability: with which images are blended.
        **kwargs: arguments of `Augmentation`.

    Call arguments:
        inputs: as for `CutMix`.
        training: whether anything is done.

    Returns:
        The same structure, as that of `CutMix`; bytes are rounded.

    Raises:
        ValueError: as `CutMix`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import MixUp
        >>> batch = {"images": np.zeros((8, 32, 32, 3), "float32"),
        ...          "labels": np.eye(8)}
        >>> MixUp(alpha=0.2)(batch)["labels"].shape
        (8, 8)
    """

    def __init__(self, alpha: float = 0.2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive("alpha", alpha)
        self.alpha = alpha

    def mixture(self, draws: Draws, height: int, width: int) -> Mixture:
        return blend(draws, self.alpha, self.probability)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


def blend(draws: Any, alpha: float, probability: float) -> Mixture:
    """Draws a weight, 1 where nothing is mixed.

    Args:
        draws: uniform, at least three rows.
        alpha: of the beta distribution.
        probability: of mixing.
    """
    weight = symmetric_beta(draws[0], draws[1], alpha)
    weight = ops.where(draws[2] < probability, weight, 1.0)
    return Mixture(weight, weight=weight)
