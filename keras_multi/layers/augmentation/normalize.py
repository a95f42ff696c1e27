"""Normalization of channels."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation.base import (
    Batch,
    BatchLayer,
)
from keras_multi.layers.augmentation.checks import (
    check_bytes,
    check_value_range,
)


@keras.saving.register_keras_serializable("keras_multi")
class Normalize(BatchLayer):
    """Takes each channel to mean 0 and standard deviation 1.

    It does so in training and outside of it.

    Args:
        mean: of each channel where values lie in [0, 1]; ImageNet's by
            default.
        std: standard deviation of each channel, likewise.
        value_range: lowest and highest value of the images.
        **kwargs: arguments of `BatchLayer`.

    Call arguments:
        inputs: images `(batch, height, width, channels)`, uint8 or float, or
            a dictionary that has them as `"images"`.

    Returns:
        The same structure; images have the layer's compute dtype.

    Raises:
        ValueError: if `std` is not positive or the numbers of channels
            differ.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import Normalize
        >>> images = np.full((1, 1, 1, 1), 255, "uint8")
        >>> float(Normalize(mean=[0.5], std=[0.25])(images)[0, 0, 0, 0])
        2.0
    """

    def __init__(
        self,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        value_range: tuple[float, float] = (0, 255),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(mean) != len(std) or not all(s > 0 for s in std):
            raise ValueError(
                "`mean` and `std` must have one number for each channel, and "
                f"`std` must be positive. Received: mean={mean}, std={std}"
            )
        self.mean = tuple(float(m) for m in mean)
        self.std = tuple(float(s) for s in std)
        self.value_range = check_value_range(value_range)

    def apply(self, batch: Batch, training: bool) -> Batch:
        images = batch["images"]
        if images.shape[3] != len(self.mean):
            raise ValueError(
                f"Images must have {len(self.mean)} channels. "
                f"Received: shape={tuple(images.shape)}, channels last"
            )
        check_bytes(images, self.value_range)
        low, high = self.value_range
        scale = [1 / (s * (high - low)) for s in self.std]
        offset = [
            -m / s - low * k
            for m, s, k in zip(self.mean, self.std, scale, strict=True)
        ]
        x = ops.cast(images, "float32")
        x = x * ops.convert_to_tensor(scale, "float32")
        x = x + ops.convert_to_tensor(offset, "float32")
        return {**batch, "images": ops.cast(x, self.compute_dtype)}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "mean": self.mean,
            "std": self.std,
            "value_range": self.value_range,
        }
