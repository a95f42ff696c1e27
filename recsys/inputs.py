"""The first block of a model: the arrays of `Features` as one vector a row."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_multi.layers import Embedding, EmbeddingBag
from recsys.features import Features


@keras.saving.register_keras_serializable("recsys")
class FeatureEncoder(keras.layers.Layer):
    """Embeddings of categories and bags beside dense numbers.

    All categorical features share one table, each in rows of its own: one
    lookup instead of one a feature. Each bag has a table of its own.

    Args:
        vocabulary_sizes: number of categories of each categorical feature.
        num_dense: number of dense numbers a row.
        bag_sizes: number of categories of each bag, by name.
        embedding_dim: width of each embedding.
        combiner: how a bag becomes one vector: `"mean"`, `"sum"` or
            `"sqrtn"`.
        embeddings_regularizer: regularizer of the table of categories.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: mapping as `Features.transform` gives it: `"categorical"`,
            integers `(batch, len(vocabulary_sizes))`; `"dense"`, floats
            `(batch, num_dense)`; `"bags"`, a mapping of integers
            `(batch, length)` padded with -1. A part without features may be
            left out.

    Returns:
        Float tensor `(batch, output_dim)`.

    Raises:
        ValueError: if an argument is out of range, or the inputs have other
            columns or bags than the layer, or numbers of categories that are
            no integers.

    Example:
        >>> import numpy as np
        >>> encoder = FeatureEncoder((10,), 0, {"genres": 5}, embedding_dim=4)
        >>> inputs = {"categorical": np.array([[3]]),
        ...           "bags": {"genres": np.array([[1, 2, -1]])}}
        >>> encoder(inputs).shape
        (1, 8)
    """

    def __init__(
        self,
        vocabulary_sizes: Sequence[int] = (),
        num_dense: int = 0,
        bag_sizes: Mapping[str, int] | None = None,
        embedding_dim: int = 32,
        combiner: str = "mean",
        embeddings_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        # Half precision would round ids.
        super().__init__(autocast=False, **kwargs)
        bag_sizes = dict(bag_sizes or {})
        sizes = [*vocabulary_sizes, *bag_sizes.values()]
        if any(size < 1 for size in (*sizes, embedding_dim)) or num_dense < 0:
            raise ValueError(
                "sizes must be positive and `num_dense` not negative. "
                f"Received: vocabulary_sizes={tuple(vocabulary_sizes)}, "
                f"bag_sizes={bag_sizes}, embedding_dim={embedding_dim}, "
                f"num_dense={num_dense}"
            )
        if not sizes and not num_dense:
            raise ValueError(
                "the encoder needs at least one feature. Received: "
                f"vocabulary_sizes={vocabulary_sizes}, "
                f"num_dense={num_dense}, bag_sizes={bag_sizes}"
            )
        self.vocabulary_sizes = tuple(vocabulary_sizes)
        self.num_dense = num_dense
        # `torch.compile` can trace a tuple, but nothing that Keras tracks.
        self.bag_sizes = tuple(bag_sizes.items())
        self.embedding_dim = embedding_dim
        self.combiner = combiner
        self.embeddings_regularizer = keras.regularizers.get(
            embeddings_regularizer
        )
        self.embedding = None
        if self.vocabulary_sizes:
            self.embedding = Embedding(
                sum(self.vocabulary_sizes),
                embedding_dim,
                embeddings_regularizer=self.embeddings_regularizer,
                dtype=self.dtype_policy,
                name="categories",
            )
        self.starts = tuple(
            sum(self.vocabulary_sizes[:column])
            for column in range(len(self.vocabulary_sizes))
        )
        self.bags = tuple(
            EmbeddingBag(size, embedding_dim, combiner, dtype=self.dtype_policy)
            for size in bag_sizes.values()
        )

    @classmethod
    def of(cls, features: Features, **kwargs: Any) -> "FeatureEncoder":
        """Makes the encoder of fitted features.

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
        embeddings = len(self.vocabulary_sizes) + len(self.bag_sizes)
        return embeddings * self.embedding_dim + self.num_dense

    def build(self, input_shape: Any = None) -> None:
        """Makes the tables; the arguments of the layer fix all shapes."""
        if self.embedding is not None:
            self.embedding.build((None, len(self.vocabulary_sizes)))
        for bag in self.bags:
            bag.build((None, None))

    def call(self, inputs: Mapping[str, Any]) -> Any:
        """Joins the parts of a row; see the class."""
        parts = []
        if self.embedding is not None:
            count = len(self.vocabulary_sizes)
            ids = _columns(inputs, "categorical", count)
            _check_integers("categorical", ids)
            starts = ops.convert_to_tensor(self.starts, "int32")
            embedded = self.embedding(ops.cast(ids, "int32") + starts)
            # (B, F, E) -> (B, F * E)
            parts.append(
                ops.reshape(embedded, (-1, count * self.embedding_dim))
            )
        if self.num_dense:
            dense = _columns(inputs, "dense", self.num_dense)
            parts.append(ops.cast(dense, self.compute_dtype))
        for (name, _), bag in zip(self.bag_sizes, self.bags, strict=True):
            ids = _columns(inputs.get("bags"), name, None)
            _check_integers(name, ids)
            parts.append(bag(ids))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Gives `(batch, output_dim)`."""
        first = next(iter(input_shape.values()))
        if isinstance(first, Mapping):
            first = next(iter(first.values()))
        return (first[0], self.output_dim)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {
            **super().get_config(),
            "vocabulary_sizes": self.vocabulary_sizes,
            "num_dense": self.num_dense,
            "bag_sizes": dict(self.bag_sizes),
            "embedding_dim": self.embedding_dim,
            "combiner": self.combiner,
            "embeddings_regularizer": keras.regularizers.serialize(
                self.embeddings_regularizer
            ),
        }


def _columns(inputs: Any, name: str, count: int | None) -> Any:
    """Takes a part of the inputs and checks its shape."""
    part = inputs.get(name) if isinstance(inputs, Mapping) else None
    shape = getattr(part, "shape", None)
    if shape is None or len(shape) != 2 or count not in (None, shape[1]):
        raise ValueError(
            f"{name!r} of the inputs must have the shape "
            f"(batch, {count or 'length'}). "
            f"Received: {type(inputs).__name__} with shape {shape}"
        )
    return part


def _check_integers(name: str, ids: Any) -> None:
    if not keras.backend.is_int_dtype(ids.dtype):
        raise ValueError(
            f"the categories of {name!r} must be integers. Received: "
            f"dtype={keras.backend.standardize_dtype(ids.dtype)}"
        )
