"""Augmentation layers, one after the other."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_multi.layers.augmentation.base import (
    Augmentation,
    Batch,
    BatchLayer,
)


@keras.saving.register_keras_serializable("keras_multi")
class Pipeline(BatchLayer):
    """Augmentation layers, one after the other, from one seed.

    Args:
        layers: layers of this package. Their `data_format` does not matter.
        seed: integer that a seed for each layer is derived from; `None`
            leaves them those that they have.
        **kwargs: arguments of `BatchLayer`.

    Call arguments:
        inputs: what the first layer takes.
        training: whether anything random is done.

    Returns:
        What the last layer gives.

    Raises:
        ValueError: if `layers` holds anything else.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import Normalize, Pipeline, RandomFlip
        >>> layer = Pipeline([RandomFlip(), Normalize()], seed=1)
        >>> layer(np.zeros((8, 32, 32, 3), "uint8")).shape
        (8, 32, 32, 3)
    """

    def __init__(
        self,
        layers: Sequence[BatchLayer],
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for layer in layers:
            if not isinstance(layer, BatchLayer):
                raise ValueError(
                    "`layers` must hold augmentation layers of keras_multi. "
                    f"Received: {layer}"
                )
        self.layers = tuple(layers)
        self.reseed(seed)

    def reseed(self, seed: int | None) -> None:
        """Starts the random numbers of all layers anew from one seed."""
        self.seed = seed
        if seed is None:
            return
        states = np.random.SeedSequence(seed).generate_state(len(self.layers))
        for layer, state in zip(self.layers, states, strict=True):
            if isinstance(layer, Augmentation | Pipeline):
                layer.reseed(int(state) >> 1)

    def build(self, *_: Any) -> None:
        for layer in self.layers:
            layer.built = True  # None of them has weights.

    def apply(self, batch: Batch, training: bool) -> Batch:
        for layer in self.layers:
            batch = layer.apply(batch, training)
        return batch

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layers": [
                keras.saving.serialize_keras_object(layer)
                for layer in self.layers
            ],
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Pipeline":
        """Makes the layers first."""
        layers = [
            keras.saving.deserialize_keras_object(layer)
            for layer in config["layers"]
        ]
        return cls(**{**config, "layers": layers})
