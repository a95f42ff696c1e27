"""CutMix or MixUp."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation.base import (
    Draws,
)
from keras_multi.layers.augmentation.checks import (
    check_positive,
    check_share,
)
from keras_multi.layers.augmentation.cut_mix import cut
from keras_multi.layers.augmentation.mix_up import blend
from keras_multi.layers.augmentation.mixing import Mixing, Mixture


@keras.saving.register_keras_serializable("keras_multi")
class CutMixOrMixUp(Mixing):
    """Switches between `CutMix`, `MixUp` and nothing at random.

    Args:
        cut_mix_alpha: `alpha` of CutMix.
        mix_up_alpha: `alpha` of MixUp.
        switch_probability: with which it is CutMix where images are mixed.
        num_classes: number of classes, needed where labels are integers.
        label_smoothing: share of each label that is spread over all classes.
        per_sample: whether each image is mixed in a way of its own, or the
            whole batch in one.
        probability: with which images are mixed at all.
        **kwargs: arguments of `Augmentation`.

    Call arguments:
        inputs: as for `CutMix`.
        training: whether anything is done.

    Returns:
        The same structure, as that of `CutMix`.

    Raises:
        ValueError: as `CutMix`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import CutMixOrMixUp
        >>> batch = {"images": np.zeros((8, 32, 32, 3), "uint8"),
        ...          "labels": np.arange(8)}
        >>> layer = CutMixOrMixUp(num_classes=8, probability=0.8)
        >>> layer(batch)["images"].shape
        (8, 32, 32, 3)
    """

    def __init__(
        self,
        cut_mix_alpha: float = 1.0,
        mix_up_alpha: float = 0.2,
        switch_probability: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive("cut_mix_alpha", cut_mix_alpha)
        check_positive("mix_up_alpha", mix_up_alpha)
        check_share("switch_probability", switch_probability)
        self.cut_mix_alpha = cut_mix_alpha
        self.mix_up_alpha = mix_up_alpha
        self.switch_probability = switch_probability

    def mixture(self, draws: Draws, height: int, width: int) -> Mixture:
        cutting = draws[5] < self.switch_probability
        pasted = cut(draws, self.cut_mix_alpha, self.probability, height, width)
        blended = blend(draws, self.mix_up_alpha, self.probability)
        return Mixture(
            ops.where(cutting, pasted.share, blended.share),
            region=ops.where(cutting[:, None], pasted.region, 0.0),
            weight=ops.where(cutting, 1.0, blended.weight),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cut_mix_alpha": self.cut_mix_alpha,
            "mix_up_alpha": self.mix_up_alpha,
            "switch_probability": self.switch_probability,
        }
