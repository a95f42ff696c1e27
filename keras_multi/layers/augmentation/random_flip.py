"""Random flips."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation import affine, targets
from keras_multi.layers.augmentation.base import (
    Augmentation,
    Batch,
    Draws,
    per_image,
)
from keras_multi.layers.augmentation.checks import (
    check_share,
)


@keras.saving.register_keras_serializable("keras_multi")
class RandomFlip(Augmentation):
    """Flips images, with their boxes and masks.

    Args:
        horizontal: probability of a flip from left to right.
        vertical: probability of a flip upside down.
        **kwargs: arguments of `Augmentation`.

    Call arguments:
        inputs: as for `CutMix`.
        training: whether anything is done.

    Returns:
        The same structure; images keep their dtype.

    Raises:
        ValueError: if a probability is out of range.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import RandomFlip
        >>> images = np.arange(3.0).reshape(1, 1, 3, 1)
        >>> np.ravel(RandomFlip(horizontal=1.0)(images)).tolist()
        [2.0, 1.0, 0.0]
    """

    def __init__(
        self, horizontal: float = 0.5, vertical: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_share("horizontal", horizontal)
        check_share("vertical", vertical)
        self.horizontal = horizontal
        self.vertical = vertical

    def draw(self, batch_size: Any) -> Draws:
        return self.uniform(2, batch_size)

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        images = batch["images"]
        height, width = images.shape[1:3]
        across, down = draws[0] < self.horizontal, draws[1] < self.vertical
        if self.horizontal > 0:
            flipped = ops.flip(images, axis=2)
            images = ops.where(per_image(across), flipped, images)
        if self.vertical > 0:
            flipped = ops.flip(images, axis=1)
            images = ops.where(per_image(down), flipped, images)
        a = ops.where(across, -1.0, 1.0)
        e = ops.where(down, -1.0, 1.0)
        zero = ops.zeros_like(a)
        maps = affine.around_center(a, zero, zero, e, height, width)
        batch = targets.move(batch, maps, height, width, self.min_visibility)
        return {**batch, "images": images}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "horizontal": self.horizontal,
            "vertical": self.vertical,
        }
