"""Embedding with an unknown id and a penalty by use."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers import Embedding


@keras.saving.register_keras_serializable("recsys")
class FactorEmbedding(Embedding):
    """Embedding whose id 0, the unknown one, gives zeros.

    Args:
        input_dim: number of ids, the unknown one included.
        output_dim: width of an embedding.
        l2: weight of the squares of the rows in use, as a mean over the
            batch; active in training. Frequent ids are penalized often, as
            in equation 5 of Koren et al. 2009.
        **kwargs: arguments of `keras.layers.Embedding`.

    Call arguments:
        inputs: integer tensor `(batch,)` in `[0, input_dim)`.
        training: whether to add the penalty.

    Returns:
        Float tensor `(batch, output_dim)`.

    Example:
        >>> import numpy as np
        >>> FactorEmbedding(5, 2)(np.array([0, 3])).shape
        (2, 2)
    """

    def __init__(
        self, input_dim: int, output_dim: int, l2: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(input_dim, output_dim, **kwargs)
        self.l2 = l2

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Looks the rows up; see the class."""
        rows = super().call(inputs)
        known = ops.cast(ops.not_equal(inputs, 0), rows.dtype)
        rows = rows * known[:, None]
        if training and self.l2:
            squares = ops.sum(ops.square(ops.cast(rows, "float32")), axis=-1)
            self.add_loss(self.l2 * ops.mean(squares))
        return rows

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {**super().get_config(), "l2": self.l2}
