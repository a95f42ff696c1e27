"""Matrix factorization: plain, SVD++, and a network over both factors."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_multi.layers import MLP, EmbeddingBag
from recsys.factor_embedding import FactorEmbedding
from recsys.history import History
from recsys.history_bag import HistoryBag

SIDES = ("user", "item")

Inputs = Mapping[str, Any]


@keras.saving.register_keras_serializable("recsys")
class FactorNetwork(keras.Model):
    """Predicts the rating of a user for an item from factors of both.

    The prediction is the sum of

    - the mean, a bias of the user and one of the item;
    - the product of the factors, `p . q`;
    - with `deep_units`, a perceptron over `p`, `q` and their elementwise
      product (the products of both branches as in neural matrix
      factorization).

    The factors are sums as well: `p` is a vector of the user, for a side in
    `histories` its `HistoryBag`, with side features their embeddings, and with
    `num_periods` a vector of the user on that day. So, by configuration:

    - no option: biased matrix factorization (Koren et al. 2009, equations 3
      to 5);
    - `histories=("user",), leave_one_out=False`: SVD++ (Koren 2008, equation
      15);
    - all of them: both histories with their ratings, biases that change with
      time (timeSVD++: item biases by period, user biases and factors by day;
      Koren 2010, sections 4.1 and 4.2), side features and the perceptron.

    A history is a matrix of all users and items, set once by `set_history`
    and saved with the model: fit for some thousands of users and items.

    Id 0 stands for all that training has not seen. It has no bias, no factor
    and an empty history.

    Args:
        num_users: number of user ids, the unknown one included.
        num_items: number of item ids, the unknown one included.
        embedding_dim: width of the factors.
        histories: sides whose factor has a history: `"user"`, `"item"` or both.
        explicit: whether histories have a second table, weighted with the
            ratings.
        leave_one_out: whether a history leaves out the pair to predict.
        side_sizes: number of categories of the features of the users and of
            the items; 0 for none.
        num_periods: number of ids of user-days and of item-periods, the
            unknown ones included; 0 for none.
        num_dense: number of further numbers a row, which enter linearly and
            in the perceptron.
        deep_units: widths of the perceptron; empty for none.
        dropout: share of values set to zero in training, in the factors,
            their product and the hidden layers.
        factors_l2: penalty of the factors; see `FactorEmbedding`.
        biases_l2: penalty of the biases.
        output_bias: initial mean.
        **kwargs: arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        inputs: mapping with `"pair"`, integers `(batch, 2)`: user and item;
            with side features `"user_side"` and `"item_side"`, integers
            `(batch, n)` of categories, padded with -1; with periods
            `"period"`, integers `(batch, 2)`: user-day and item-period; with
            `num_dense` `"dense"`, floats `(batch, num_dense)`.
        training: whether dropout and penalties are active.

    Returns:
        Float32 tensor `(batch, 1)`, the rating.

    Raises:
        ValueError: if an argument is out of range, or a part of the inputs
            is missing or has another shape.

    Example:
        >>> import numpy as np
        >>> model = FactorNetwork(3, 4, embedding_dim=2, histories=("user",))
        >>> model.set_history(users=[1, 2], items=[3, 1])
        >>> model({"pair": np.array([[1, 2], [2, 3]])}).shape
        (2, 1)

    References:
        - [Koren, Bell and Volinsky 2009, Matrix factorization techniques for
          recommender systems](https://doi.org/10.1109/MC.2009.263).
        - [Koren 2008, Factorization meets the neighborhood](
          https://doi.org/10.1145/1401890.1401944).
        - [Koren 2010, Collaborative filtering with temporal dynamics](
          https://doi.org/10.1145/1721654.1721677).
        - [He et al. 2017, Neural collaborative filtering](
          https://arxiv.org/abs/1708.05031), section 3.4.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        embedding_dim: int = 32,
        histories: Sequence[str] = (),
        explicit: bool = False,
        leave_one_out: bool = True,
        side_sizes: Sequence[int] = (0, 0),
        num_periods: Sequence[int] = (0, 0),
        num_dense: int = 0,
        deep_units: Sequence[int] = (),
        dropout: float = 0.0,
        factors_l2: float = 0.0,
        biases_l2: float = 0.0,
        output_bias: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(num_users, num_items, embedding_dim) < 1:
            raise ValueError(
                "`num_users`, `num_items` and `embedding_dim` must be "
                f"positive. Received: num_users={num_users}, "
                f"num_items={num_items}, embedding_dim={embedding_dim}"
            )
        if not set(histories) <= set(SIDES) or (explicit and not histories):
            raise ValueError(
                "`histories` must hold 'user', 'item' or both, and `explicit` "
                f"needs one. Received: histories={histories}, "
                f"explicit={explicit}"
            )
        if min(*side_sizes, *num_periods, num_dense) < 0:
            raise ValueError(
                "`side_sizes`, `num_periods` and `num_dense` must not be "
                f"negative. Received: side_sizes={side_sizes}, "
                f"num_periods={num_periods}, num_dense={num_dense}"
            )
        if min(factors_l2, biases_l2) < 0:
            raise ValueError(
                "`factors_l2` and `biases_l2` must not be negative. Received: "
                f"factors_l2={factors_l2}, biases_l2={biases_l2}"
            )
        self.num_users, self.num_items = num_users, num_items
        self.embedding_dim = embedding_dim
        self.histories = tuple(histories)
        self.explicit = explicit
        self.leave_one_out = leave_one_out
        self.side_sizes = tuple(side_sizes)
        self.num_periods = tuple(num_periods)
        self.num_dense = num_dense
        self.deep_units = tuple(deep_units)
        self.dropout_rate = dropout
        self.factors_l2 = factors_l2
        self.biases_l2 = biases_l2
        self.output_bias = output_bias

        self.user_factors = self._factors(num_users)
        self.item_factors = self._factors(num_items)
        self.user_biases = self._biases(num_users)
        self.item_biases = self._biases(num_items)
        self.past: Any = None
        self.user_history = self.item_history = None
        if self.histories:
            self.past = History(num_users, num_items, explicit)
        if "user" in self.histories:
            self.user_history = self._bag(num_users, num_items)
        if "item" in self.histories:
            self.item_history = self._bag(num_items, num_users)
        self.user_side = self._side(self.side_sizes[0])
        self.item_side = self._side(self.side_sizes[1])
        days, periods = self.num_periods
        self.day_factors = self._factors(days) if days else None
        self.day_biases = self._biases(days) if days else None
        self.period_biases = self._biases(periods) if periods else None
        policy = self.dtype_policy
        self.dense_slopes: Any = None
        self.deep: Any = None
        if num_dense:
            self.dense_slopes = keras.layers.Dense(
                1, use_bias=False, kernel_initializer="zeros", dtype=policy
            )
        self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        if self.deep_units:
            self.deep = MLP(
                self.deep_units,
                final_activation="relu",
                dropout=dropout,
                dtype=policy,
            )
            self.deep_output = keras.layers.Dense(
                1, kernel_initializer="zeros", dtype="float32"
            )

    def _factors(self, size: int) -> FactorEmbedding:
        return FactorEmbedding(
            size,
            self.embedding_dim,
            l2=self.factors_l2,
            embeddings_initializer="random_normal",
            dtype=self.dtype_policy,
        )

    def _biases(self, size: int) -> FactorEmbedding:
        return FactorEmbedding(
            size,
            1,
            l2=self.biases_l2,
            embeddings_initializer="zeros",
            dtype=self.dtype_policy,
        )

    def _bag(self, num_ids: int, num_others: int) -> HistoryBag:
        return HistoryBag(
            num_ids,
            num_others,
            self.embedding_dim,
            explicit=self.explicit,
            leave_one_out=self.leave_one_out,
            l2=self.factors_l2,
            embeddings_initializer="random_normal",
            dtype=self.dtype_policy,
        )

    def _side(self, size: int) -> EmbeddingBag | None:
        if not size:
            return None
        return EmbeddingBag(
            size,
            self.embedding_dim,
            combiner="sqrtn",
            embeddings_initializer="random_normal",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights; the arguments of the model fix all shapes."""
        self.mean = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.output_bias),
            name="mean",
        )
        for layer in (
            self.past,
            *(self.user_factors, self.item_factors),
            *(self.user_biases, self.item_biases),
            *(self.user_history, self.item_history),
            *(self.user_side, self.item_side),
            *(self.day_factors, self.day_biases, self.period_biases),
        ):
            if layer is not None:
                layer.build((None,))
        if self.dense_slopes is not None:
            self.dense_slopes.build((None, self.num_dense))
        if self.deep is not None:
            self.deep.build((None, 3 * self.embedding_dim + self.num_dense))
            self.deep_output.build((None, self.deep_units[-1]))

    def set_history(
        self,
        users: Any,
        items: Any,
        user_values: Any = None,
        item_values: Any = None,
    ) -> None:
        """Sets who has rated what; see `History.fill`.

        Raises:
            ValueError: if the model has no history, or the arguments do not
                fit it.
        """
        if self.past is None:
            raise ValueError(
                "the model has no history. Received: "
                f"histories={self.histories}"
            )
        if not self.built:
            self.build()
        self.past.fill(users, items, user_values, item_values)

    def call(self, inputs: Inputs, training: bool | None = None) -> Any:
        """Predicts one rating per row; see the class."""
        pair = ops.cast(_part(inputs, "pair", 2), "int32")
        user, item = pair[:, 0], pair[:, 1]
        p = self.user_factors(user, training=training)  # (B, E)
        q = self.item_factors(item, training=training)  # (B, E)
        y = self.mean + self.user_biases(user, training=training)  # (B, 1)
        y = y + self.item_biases(item, training=training)
        if self.user_history is not None:
            past = self.past.of_users()
            p = p + self.user_history(user, item, *past, training=training)
        if self.item_history is not None:
            past = self.past.of_items()
            q = q + self.item_history(item, user, *past, training=training)
        if self.user_side is not None:
            p = p + self.user_side(_part(inputs, "user_side"))
        if self.item_side is not None:
            q = q + self.item_side(_part(inputs, "item_side"))
        if any(self.num_periods):
            periods = ops.cast(_part(inputs, "period", 2), "int32")
            day, period = periods[:, 0], periods[:, 1]
        if self.day_factors is not None:
            p = p + self.day_factors(day, training=training)
            y = y + self.day_biases(day, training=training)
        if self.period_biases is not None:
            y = y + self.period_biases(period, training=training)
        joined = ops.concatenate([p, q, p * q], axis=-1)  # (B, 3 E)
        joined = self.dropout(joined, training=training)
        product = joined[:, 2 * self.embedding_dim :]
        y = y + ops.sum(product, axis=-1, keepdims=True)
        if self.dense_slopes is not None:
            dense = ops.cast(
                _part(inputs, "dense", self.num_dense), self.compute_dtype
            )
            y = y + self.dense_slopes(dense)
            joined = ops.concatenate([joined, dense], axis=-1)
        if self.deep is not None:
            deep = self.deep(joined, training=training)
            y = y + self.deep_output(deep)
        return ops.cast(y, "float32")

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Gives `(batch, 1)`."""
        return (next(iter(input_shape.values()))[0], 1)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {
            **super().get_config(),
            "num_users": self.num_users,
            "num_items": self.num_items,
            "embedding_dim": self.embedding_dim,
            "histories": self.histories,
            "explicit": self.explicit,
            "leave_one_out": self.leave_one_out,
            "side_sizes": self.side_sizes,
            "num_periods": self.num_periods,
            "num_dense": self.num_dense,
            "deep_units": self.deep_units,
            "dropout": self.dropout_rate,
            "factors_l2": self.factors_l2,
            "biases_l2": self.biases_l2,
            "output_bias": self.output_bias,
        }


def _part(inputs: Inputs, name: str, width: int | None = None) -> Any:
    """Takes a part of the inputs and checks its shape."""
    part = inputs.get(name) if isinstance(inputs, Mapping) else None
    shape = getattr(part, "shape", None)
    if shape is None or len(shape) != 2 or width not in (None, shape[1]):
        raise ValueError(
            f"`inputs[{name!r}]` must have the shape "
            f"(batch, {'n' if width is None else width}). "
            f"Received: {type(inputs).__name__} with shape {shape}"
        )
    return part
