"""Deep & Cross Network, the model for ranking and rating prediction."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_multi.layers import MLP, CrossNetwork, Embedding

STRUCTURES = ("stacked", "parallel")

Inputs = Mapping[str, Any]


@keras.saving.register_keras_serializable("recsys")
class DCN(keras.Model):
    """Deep & Cross Network, version 2.

    The embeddings of the categorical features and the dense features are
    joined to one vector `x0` (section 3.1 of the paper). Cross layers form
    its explicit products (section 3.2, or in the low-rank and mixture forms
    of section 3.3), a multi-layer perceptron the rest (section 3.4). In the
    stacked structure the perceptron follows the crosses, in the parallel one
    it stands beside them, and both outputs are joined (section 3.5). One
    linear unit gives the output.

    All categorical features share one table of embeddings, each in rows of
    its own: one lookup instead of one a feature.

    Args:
        vocabulary_sizes: number of categories of each categorical feature;
            may be empty.
        num_dense: number of dense features.
        embedding_dim: width of each embedding.
        num_cross_layers: number of cross layers. 0 leaves a plain
            multi-layer perceptron.
        projection_dim: rank of the cross layers, `None` for full rank.
        num_experts: number of low-rank experts in each cross layer; more
            than one needs `projection_dim`.
        deep_units: width of each layer of the perceptron. Empty leaves the
            crosses only.
        structure: `"stacked"` or `"parallel"`.
        dropout: share of values set to zero in training, in `x0` and in the
            hidden layers of the perceptron.
        embeddings_regularizer: regularizer of the table of embeddings.
        output_bias: initial output for all rows: the mean of a rating, or
            the log-odds of a click.
        **kwargs: arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        inputs: mapping with `"categorical"`, integers of shape
            `(batch, len(vocabulary_sizes))`, column `f` in
            `[0, vocabulary_sizes[f])`, and `"dense"`, floats of shape
            `(batch, num_dense)`. A part without features may be left out.
        training: whether dropout is active.

    Returns:
        Float32 tensor `(batch, 1)`: a rating, or the logit of a click.

    Raises:
        ValueError: if an argument is out of range, or the inputs have other
            columns than the model, or category numbers that are no integers.

    Example:
        >>> import numpy as np
        >>> model = DCN(vocabulary_sizes=(10, 5), num_dense=1)
        >>> ids, age = np.array([[3, 4]]), np.array([[0.5]])
        >>> model({"categorical": ids, "dense": age}).shape
        (1, 1)

    References:
        - [Wang et al. 2021, DCN V2](https://arxiv.org/abs/2008.13535),
          section 3.
        - [Wang et al. 2017, Deep & Cross Network](
          https://arxiv.org/abs/1708.05123), section 2.
    """

    def __init__(
        self,
        vocabulary_sizes: Sequence[int],
        num_dense: int,
        embedding_dim: int = 32,
        num_cross_layers: int = 2,
        projection_dim: int | None = None,
        num_experts: int = 1,
        deep_units: Sequence[int] = (192, 192),
        structure: str = "stacked",
        dropout: float = 0.0,
        embeddings_regularizer: Any = None,
        output_bias: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if any(size < 1 for size in vocabulary_sizes) or num_dense < 0:
            raise ValueError(
                "`vocabulary_sizes` must be positive and `num_dense` not "
                "negative. Received: "
                f"vocabulary_sizes={vocabulary_sizes}, num_dense={num_dense}"
            )
        if not vocabulary_sizes and not num_dense:
            raise ValueError(
                "the model needs at least one feature. Received: "
                f"vocabulary_sizes={vocabulary_sizes}, num_dense={num_dense}"
            )
        if embedding_dim < 1:
            raise ValueError(
                "`embedding_dim` must be a positive integer. "
                f"Received: embedding_dim={embedding_dim}"
            )
        if num_cross_layers < 0 or (num_cross_layers == 0 and not deep_units):
            raise ValueError(
                "`num_cross_layers` must not be negative, and only "
                "`deep_units` can replace them. Received: "
                f"num_cross_layers={num_cross_layers}, deep_units={deep_units}"
            )
        if structure not in STRUCTURES:
            raise ValueError(
                f"`structure` must be one of {STRUCTURES}. "
                f"Received: structure={structure!r}"
            )
        self.vocabulary_sizes = tuple(vocabulary_sizes)
        self.num_dense = num_dense
        self.embedding_dim = embedding_dim
        self.num_cross_layers = num_cross_layers
        self.projection_dim = projection_dim
        self.num_experts = num_experts
        self.deep_units = tuple(deep_units)
        self.structure = structure
        self.dropout_rate = dropout
        self.embeddings_regularizer = keras.regularizers.get(
            embeddings_regularizer
        )
        self.output_bias = output_bias

        policy = self.dtype_policy
        self.embedding = self.cross = self.deep = self.dropout = None
        if self.vocabulary_sizes:
            self.embedding = Embedding(
                sum(self.vocabulary_sizes),
                embedding_dim,
                embeddings_regularizer=self.embeddings_regularizer,
                dtype=policy,
            )
            # `torch.compile` can trace a tuple, but no array and no list
            # that Keras tracks.
            self.starts = tuple(
                sum(self.vocabulary_sizes[:column])
                for column in range(len(self.vocabulary_sizes))
            )
        if dropout:
            self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        if num_cross_layers:
            self.cross = CrossNetwork(
                num_cross_layers,
                projection_dim=projection_dim,
                num_experts=num_experts,
                dtype=policy,
            )
        if self.deep_units:
            self.deep = MLP(
                self.deep_units,
                final_activation="relu",
                dropout=dropout,
                dtype=policy,
            )
        self.output_layer = keras.layers.Dense(
            1,
            bias_initializer=keras.initializers.Constant(output_bias),
            dtype="float32",
        )

    @property
    def input_dim(self) -> int:
        """Width of `x0`."""
        categorical = len(self.vocabulary_sizes) * self.embedding_dim
        return categorical + self.num_dense

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights; the arguments of the model fix all shapes."""
        width = self.input_dim
        if self.embedding is not None:
            self.embedding.build((None, len(self.vocabulary_sizes)))
        if self.cross is not None:
            self.cross.build((None, width))
        if self.deep is not None:
            self.deep.build((None, width))
            parallel = self.cross is not None and self.structure == "parallel"
            width = self.deep_units[-1] + (width if parallel else 0)
        self.output_layer.build((None, width))

    def call(self, inputs: Inputs, training: bool | None = None) -> Any:
        """Predicts one number per row; see the class."""
        x0 = self._join(inputs)  # (B, F * E + D)
        if self.dropout is not None:
            x0 = self.dropout(x0, training=training)
        crossed = x0 if self.cross is None else self.cross(x0)
        if self.deep is None:
            return self.output_layer(crossed)
        if self.cross is None or self.structure == "stacked":
            return self.output_layer(self.deep(crossed, training=training))
        deep = self.deep(x0, training=training)
        return self.output_layer(ops.concatenate([crossed, deep], axis=-1))

    def _join(self, inputs: Inputs) -> Any:
        parts = []
        if self.embedding is not None:
            ids = _columns(inputs, "categorical", len(self.vocabulary_sizes))
            if not keras.backend.is_int_dtype(ids.dtype):
                raise ValueError(
                    "the categories must be integers. Received: "
                    f"dtype={keras.backend.standardize_dtype(ids.dtype)}"
                )
            starts = ops.convert_to_tensor(self.starts, "int32")
            ids = ops.cast(ids, "int32") + starts
            embedded = self.embedding(ids)  # (B, F, E)
            width = len(self.vocabulary_sizes) * self.embedding_dim
            parts.append(ops.reshape(embedded, (-1, width)))
        if self.num_dense:
            dense = _columns(inputs, "dense", self.num_dense)
            parts.append(ops.cast(dense, self.compute_dtype))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Gives `(batch, 1)`."""
        return (next(iter(input_shape.values()))[0], 1)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {
            **super().get_config(),
            "vocabulary_sizes": self.vocabulary_sizes,
            "num_dense": self.num_dense,
            "embedding_dim": self.embedding_dim,
            "num_cross_layers": self.num_cross_layers,
            "projection_dim": self.projection_dim,
            "num_experts": self.num_experts,
            "deep_units": self.deep_units,
            "structure": self.structure,
            "dropout": self.dropout_rate,
            "embeddings_regularizer": keras.regularizers.serialize(
                self.embeddings_regularizer
            ),
            "output_bias": self.output_bias,
        }


def _columns(inputs: Inputs, name: str, count: int) -> Any:
    """Takes a part of the inputs and checks its shape."""
    part = inputs.get(name) if isinstance(inputs, Mapping) else None
    shape = getattr(part, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] != count:
        raise ValueError(
            f"`inputs[{name!r}]` must have the shape (batch, {count}). "
            f"Received: {type(inputs).__name__} with shape {shape}"
        )
    return part
