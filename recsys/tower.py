"""One tower: the features of a user or an item as one vector."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_multi.layers import MLP
from recsys.features import Features
from recsys.inputs import FeatureEncoder


@keras.saving.register_keras_serializable("recsys")
class Tower(keras.layers.Layer):
    """Features of one side, a user or an item, as one vector.

    A `FeatureEncoder`, and dense layers upon it.

    Args:
        vocabulary_sizes: number of categories of each categorical feature.
        num_dense: number of dense numbers a row.
        bag_sizes: number of categories of each bag, by name.
        embedding_dim: width of each embedding.
        units: width of each dense layer, the last one linear. Empty leaves
            the features as they are encoded.
        dropout: share of values set to zero in training, before each dense
            layer.
        combiner: how a bag becomes one vector: `"mean"`, `"sum"` or
            `"sqrtn"`.
        normalize: whether to divide the vector by its length.
        embeddings_regularizer: regularizer of the table of categories.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: mapping as `Features.transform` gives it; see
            `FeatureEncoder`.
        training: whether dropout is active.

    Returns:
        Float tensor `(batch, output_dim)`.

    Raises:
        ValueError: if an argument is out of range, or as `FeatureEncoder`.

    Example:
        >>> import numpy as np
        >>> tower = Tower(vocabulary_sizes=(10,), units=(16, 8))
        >>> tower({"categorical": np.array([[3], [4]])}).shape
        (2, 8)
    """

    def __init__(
        self,
        vocabulary_sizes: Sequence[int] = (),
        num_dense: int = 0,
        bag_sizes: Mapping[str, int] | None = None,
        embedding_dim: int = 32,
        units: Sequence[int] = (),
        dropout: float = 0.0,
        combiner: str = "mean",
        normalize: bool = False,
        embeddings_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        # Half precision would round ids.
        super().__init__(autocast=False, **kwargs)
        if not 0 <= dropout < 1:
            raise ValueError(
                f"`dropout` must lie in [0, 1). Received: dropout={dropout}"
            )
        policy = self.dtype_policy
        self.encoder = FeatureEncoder(
            vocabulary_sizes,
            num_dense,
            bag_sizes,
            embedding_dim,
            combiner,
            embeddings_regularizer,
            dtype=policy,
        )
        self.units = tuple(units)
        self.dropout_rate = dropout
        self.normalize = normalize
        self.dropout = self.deep = None
        if dropout:
            self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        if self.units:
            self.deep = MLP(self.units, dropout=dropout, dtype=policy)

    @classmethod
    def of(cls, features: Features, **kwargs: Any) -> "Tower":
        """Makes the tower of fitted features.

        Args:
            features: fitted; their `transform` gives the inputs.
            **kwargs: further arguments of the constructor.
        """
        return cls(
            features.vocabulary_sizes,
            features.num_dense,
            features.bag_sizes,
            **kwargs,
        )

    @property
    def output_dim(self) -> int:
        """Width of the vector."""
        return self.units[-1] if self.units else self.encoder.output_dim

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights; the arguments of the layer fix all shapes."""
        self.encoder.build(input_shape)
        if self.deep is not None:
            self.deep.build((None, self.encoder.output_dim))

    def call(
        self, inputs: Mapping[str, Any], training: bool | None = None
    ) -> Any:
        """Encodes rows; see the class."""
        x = self.encoder(inputs)
        if self.dropout is not None:
            x = self.dropout(x, training=training)
        if self.deep is not None:
            x = self.deep(x, training=training)
        if self.normalize:
            square = ops.sum(ops.square(x), axis=-1, keepdims=True)
            x = x * ops.rsqrt(ops.maximum(square, 1e-12))
        return x

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Gives `(batch, output_dim)`."""
        batch, _ = self.encoder.compute_output_shape(input_shape)
        return (batch, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        encoder = self.encoder.get_config()
        names = (
            "vocabulary_sizes",
            "num_dense",
            "bag_sizes",
            "embedding_dim",
            "combiner",
            "embeddings_regularizer",
        )
        return {
            **super().get_config(),
            **{name: encoder[name] for name in names},
            "units": self.units,
            "dropout": self.dropout_rate,
            "normalize": self.normalize,
        }
