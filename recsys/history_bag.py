"""What a user has rated, or who has rated an item, as one vector."""

from typing import Any

import keras
from keras import ops

from keras_multi import backend
from keras_multi.layers.feature_cross import clone_initializer


@keras.saving.register_keras_serializable("recsys")
class HistoryBag(keras.layers.Layer):
    """Root-normalized sum of embeddings over one side of a rating history.

    For a user u with the rated items N(u) it gives the implicit part of
    SVD++, and with `explicit` a second table weighted with the ratings::

        |N(u)|^-1/2 * sum over j in N(u) of (y_j + value_uj * x_j)

    An item with the users who rated it is the same with both sides swapped.
    With `leave_one_out` the pair that is asked for does not count where it is
    in the history: the bag of (u, i) is over N(u) without i, in the sum and
    in its size. A training row then sees what a new row will see, and never
    its own rating.

    Args:
        num_ids: number of ids of the side that the bag describes.
        num_others: number of ids of the side that is in the bags.
        output_dim: width of the embeddings.
        explicit: whether to add the table of the ratings.
        leave_one_out: whether to leave out the pair that is asked for.
        l2: weight of the squares of the embeddings of the other id of each
            row, as a mean over the batch; active in training.
        embeddings_initializer: initializer of both tables.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        ids: integer tensor `(batch,)` in `[0, num_ids)`.
        others: integer tensor `(batch,)` in `[0, num_others)`, the other
            half of each pair.
        rated: float tensor `(num_ids, num_others)`, 1 where there is a
            rating, else 0.
        values: float tensor of the same shape, 0 where there is no rating;
            needed with `explicit`.
        training: whether to add the penalty.

    Returns:
        Float tensor `(batch, output_dim)`; zeros for an empty bag.

    Raises:
        ValueError: if a size is below 1, or `explicit` and `values` do not
            go together.

    Example:
        >>> import numpy as np
        >>> rated = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]], "float32")
        >>> bag = HistoryBag(2, 3, output_dim=4)
        >>> bag(np.array([0, 1]), np.array([2, 2]), rated).shape
        (2, 4)

    References:
        - [Koren 2008, Factorization meets the neighborhood](
          https://doi.org/10.1145/1401890.1401944), equations 13 and 15.
    """

    def __init__(
        self,
        num_ids: int,
        num_others: int,
        output_dim: int,
        explicit: bool = False,
        leave_one_out: bool = True,
        l2: float = 0.0,
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ) -> None:
        # Half precision would round ids and sizes of bags.
        super().__init__(autocast=False, **kwargs)
        if min(num_ids, num_others, output_dim) < 1:
            raise ValueError(
                "`num_ids`, `num_others` and `output_dim` must be positive. "
                f"Received: num_ids={num_ids}, num_others={num_others}, "
                f"output_dim={output_dim}"
            )
        self.num_ids = num_ids
        self.num_others = num_others
        self.output_dim = output_dim
        self.explicit = explicit
        self.leave_one_out = leave_one_out
        self.l2 = l2
        self.embeddings_initializer = keras.initializers.get(
            embeddings_initializer
        )

    def build(
        self,
        ids_shape: Any,
        others_shape: Any = None,
        rated_shape: Any = None,
        values_shape: Any = None,
    ) -> None:
        """Makes the tables; the arguments of the layer fix their shapes."""
        self.implicit_embeddings = self._table("implicit_embeddings")
        if self.explicit:
            self.explicit_embeddings = self._table("explicit_embeddings")
        self._with_dense_gradient = backend.framework().with_dense_gradient

    def _table(self, name: str) -> Any:
        return self.add_weight(
            shape=(self.num_others, self.output_dim),
            initializer=clone_initializer(self.embeddings_initializer),
            name=name,
        )

    def call(
        self,
        ids: Any,
        others: Any,
        rated: Any,
        values: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Gives one vector per pair; see the class."""
        if self.explicit != (values is not None):
            raise ValueError(
                "`values` must be given with `explicit`, and only then. "
                f"Received: explicit={self.explicit}, values={values}"
            )
        ids, others = ops.cast(ids, "int32"), ops.cast(others, "int32")
        rated = ops.cast(rated, "float32")
        bag = self._sum(
            self.implicit_embeddings, rated, ids, others, training
        )  # (B, E)
        if self.explicit:
            bag = bag + self._sum(
                self.explicit_embeddings,
                ops.cast(values, "float32"),
                ids,
                others,
                training,
            )
        size = ops.take(ops.sum(rated, axis=1), ids)  # (B,)
        if self.leave_one_out:
            size = size - self._own(rated, ids, others)
        bag = bag / ops.sqrt(ops.maximum(size, 1.0))[:, None]
        return ops.cast(bag, self.compute_dtype)

    def _sum(
        self,
        embeddings: Any,
        weights: Any,
        ids: Any,
        others: Any,
        training: bool | None,
    ) -> Any:
        """Sums the rows of a table, weighted, over the bag of each id."""
        table = ops.cast(self._with_dense_gradient(embeddings), "float32")
        sums = ops.take(ops.matmul(weights, table), ids, axis=0)
        own = ops.take(table, others, axis=0)  # (B, E)
        if training and self.l2:
            squares = ops.sum(ops.square(own), axis=-1)
            self.add_loss(self.l2 * ops.mean(squares))
        if self.leave_one_out:
            sums = sums - self._own(weights, ids, others)[:, None] * own
        return sums

    def _own(self, matrix: Any, ids: Any, others: Any) -> Any:
        """Takes the entry of each pair: `(batch,)`."""
        place = ids * self.num_others + others
        return ops.take(ops.reshape(matrix, (-1,)), place)

    def compute_output_shape(
        self,
        ids_shape: Any,
        others_shape: Any = None,
        rated_shape: Any = None,
        values_shape: Any = None,
    ) -> tuple[Any, int]:
        """Gives `(batch, output_dim)`."""
        return (ids_shape[0], self.output_dim)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {
            **super().get_config(),
            "num_ids": self.num_ids,
            "num_others": self.num_others,
            "output_dim": self.output_dim,
            "explicit": self.explicit,
            "leave_one_out": self.leave_one_out,
            "l2": self.l2,
            "embeddings_initializer": keras.initializers.serialize(
                self.embeddings_initializer
            ),
        }
