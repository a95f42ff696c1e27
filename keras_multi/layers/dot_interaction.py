"""Pairwise dot products of feature embeddings, as in DLRM."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("keras_multi")
class DotInteraction(keras.layers.Layer):
    """Dot products of all pairs of feature embeddings of one example.

    Args:
        self_interaction: whether each feature is also paired with itself.
        skip_gather: whether to keep the whole matrix of pairs, with zeros
            instead of the pairs that are left out. Larger, but faster on
            accelerators where gathers are slow.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor `(batch, features, dim)`, or a list of float
            tensors `(batch, dim)`, one a feature.

    Returns:
        Float tensor `(batch, pairs)` with the pairs (i, j), j < i, of the
        lower triangle in row order: `pairs` is `F (F - 1) / 2`, or
        `F (F + 1) / 2` with `self_interaction`, or `F * F` with
        `skip_gather`.

    Raises:
        ValueError: if the inputs differ in shape or are not of that rank.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import DotInteraction
        >>> DotInteraction()(np.ones((2, 4, 8), "float32")).shape
        (2, 6)

    References:
        - [Naumov et al. 2019, DLRM](https://arxiv.org/abs/1906.00091),
          section 2.1.2 and 2.1.3.
    """

    def __init__(
        self,
        self_interaction: bool = False,
        skip_gather: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.self_interaction = self_interaction
        self.skip_gather = skip_gather

    def build(self, input_shape: Shape | Sequence[Shape]) -> None:
        self._stacked_shape(input_shape)

    def call(self, inputs: Any) -> Any:
        if isinstance(inputs, list | tuple):
            self._stacked_shape([tuple(x.shape) for x in inputs])
            inputs = ops.stack(inputs, axis=1)  # (B, F, D)
        features = inputs.shape[1]
        products = ops.matmul(inputs, ops.transpose(inputs, (0, 2, 1)))
        products = ops.reshape(products, (-1, features * features))
        kept = [
            (row > column) or (self.self_interaction and row == column)
            for row in range(features)
            for column in range(features)
        ]
        if self.skip_gather:
            mask = [float(keep) for keep in kept]
            return products * ops.convert_to_tensor(mask, products.dtype)
        indices = [index for index, keep in enumerate(kept) if keep]
        return ops.take(products, indices, axis=-1)

    def compute_output_shape(
        self, input_shape: Shape | Sequence[Shape]
    ) -> Shape:
        batch, features, _ = self._stacked_shape(input_shape)
        if self.skip_gather:
            return batch, features * features
        if self.self_interaction:
            return batch, features * (features + 1) // 2
        return batch, features * (features - 1) // 2

    def _stacked_shape(self, shape: Any) -> tuple[int | None, int, int | None]:
        """Shape `(B, F, D)` of the features, given as one tensor or a list."""
        if shape and isinstance(shape[0], list | tuple):
            if len({tuple(s) for s in shape}) > 1 or len(shape[0]) != 2:
                raise ValueError(
                    "a list of features must hold tensors of one shape "
                    f"(batch, dim). Received: shapes={list(shape)}"
                )
            return shape[0][0], len(shape), shape[0][1]
        if len(shape) != 3 or shape[1] is None:
            raise ValueError(
                "features must be a tensor (batch, features, dim) with a "
                "known number of features, or a list of tensors (batch, dim). "
                f"Received: shape={shape}"
            )
        return shape[0], shape[1], shape[2]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "self_interaction": self.self_interaction,
            "skip_gather": self.skip_gather,
        }
