"""One embedding for a bag of ids."""

from typing import Any

import keras
from keras import ops

from keras_multi import backend
from keras_multi.layers.feature_cross import Shape

COMBINERS = ("sum", "mean", "sqrtn")


@keras.saving.register_keras_serializable("keras_multi")
class EmbeddingBag(keras.layers.Layer):
    """Sum or mean of the embeddings of a padded list of ids.

    With weights w the sum of `w_i e_i` is divided by 1 (`"sum"`), by the sum
    of the weights (`"mean"`) or by the root of the sum of their squares
    (`"sqrtn"`). An empty bag gives zeros. The gradient is dense, as that of
    `keras_multi.layers.Embedding`.

    Args:
        input_dim: number of ids.
        output_dim: width of an embedding.
        combiner: `"sum"`, `"mean"` or `"sqrtn"`.
        padding_id: the id that does not count.
        embeddings_initializer: initializer of the table.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: integer tensor `(batch, length)` of ids in `[0, input_dim)`
            and `padding_id`.
        weights: float tensor `(batch, length)`; one each by default.

    Returns:
        Float tensor `(batch, output_dim)`.

    Raises:
        ValueError: if the combiner is unknown.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import EmbeddingBag
        >>> EmbeddingBag(10, 4)(np.array([[1, 2, -1]])).shape
        (1, 4)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        combiner: str = "mean",
        padding_id: int = -1,
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ) -> None:
        # Half precision would round ids.
        super().__init__(autocast=False, **kwargs)
        if combiner not in COMBINERS:
            raise ValueError(
                f"`combiner` must be one of {COMBINERS}. "
                f"Received: combiner={combiner!r}"
            )
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.combiner = combiner
        self.padding_id = padding_id
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
        )

    def build(self, inputs_shape: Shape, weights_shape: Any = None) -> None:
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
        )
        self._with_dense_gradient = backend.framework().with_dense_gradient

    def call(self, inputs: Any, weights: Any = None) -> Any:
        ids = ops.cast(inputs, "int32")
        kept = ops.not_equal(ids, self.padding_id)
        share = ops.cast(kept, self.compute_dtype)
        if weights is not None:
            share = share * ops.cast(weights, self.compute_dtype)
        table = self._with_dense_gradient(self.embeddings)
        rows = ops.take(table, ops.where(kept, ids, 0), axis=0)
        rows = ops.cast(rows, self.compute_dtype)
        bag = ops.sum(rows * share[:, :, None], axis=1)
        if self.combiner == "sum":
            return bag
        if self.combiner == "mean":
            size = ops.sum(share, axis=1, keepdims=True)
        else:
            size = ops.sqrt(ops.sum(ops.square(share), axis=1, keepdims=True))
        return bag / ops.where(ops.equal(size, 0), ops.ones_like(size), size)

    def compute_output_shape(
        self, inputs_shape: Shape, weights_shape: Any = None
    ) -> Shape:
        return (inputs_shape[0], self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "combiner": self.combiner,
            "padding_id": self.padding_id,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }
