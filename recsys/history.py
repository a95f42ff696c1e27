"""Who has rated what: constants of a model."""

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("recsys")
class History(keras.layers.Layer):
    """Who has rated what, as constant matrices that are saved with a model.

    Args:
        num_users: number of user ids; id 0 has no history.
        num_items: number of item ids; id 0 has no history.
        explicit: whether to hold the ratings too.
        **kwargs: arguments of `keras.layers.Layer`.

    Example:
        >>> history = History(3, 4)
        >>> history.fill(users=[1, 2], items=[3, 1])
        >>> history.of_users()[0].shape, history.of_items()[0].shape
        ((3, 4), (4, 3))
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        explicit: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_users = num_users
        self.num_items = num_items
        self.explicit = explicit

    def build(self, input_shape: Any = None) -> None:
        """Makes the matrices, empty."""
        self.rated = self._matrix("rated")
        if self.explicit:
            self.user_values = self._matrix("user_values")
            self.item_values = self._matrix("item_values")

    def _matrix(self, name: str) -> Any:
        return self.add_weight(
            shape=(self.num_users, self.num_items),
            initializer="zeros",
            dtype="float32",
            autocast=False,
            trainable=False,
            name=name,
        )

    def fill(
        self,
        users: Any,
        items: Any,
        user_values: Any = None,
        item_values: Any = None,
    ) -> None:
        """Sets the history: the training rows and no others.

        Args:
            users: ids, shape `(rows,)`, in `[1, num_users)`.
            items: ids, shape `(rows,)`, in `[1, num_items)`.
            user_values: shape `(rows,)`; the rating as it counts in the
                history of the user, for instance as the distance from the
                mean of the item. Needed if explicit.
            item_values: the same for the history of the item.

        Raises:
            ValueError: if an id is out of range, a pair comes twice, or
                values are missing.
        """
        users, items = np.asarray(users), np.asarray(items)
        if self.explicit and (user_values is None or item_values is None):
            raise ValueError(
                "an explicit history needs `user_values` and `item_values`. "
                f"Received: user_values={user_values}, "
                f"item_values={item_values}"
            )
        for name, ids, size in (
            ("users", users, self.num_users),
            ("items", items, self.num_items),
        ):
            if ids.min() < 1 or ids.max() >= size:
                raise ValueError(
                    f"`{name}` must lie in [1, {size}). "
                    f"Received: {ids.min()} to {ids.max()}"
                )
        rated = np.zeros((self.num_users, self.num_items), "float32")
        np.add.at(rated, (users, items), 1)
        if rated.max() > 1:
            raise ValueError(
                "a pair of user and item must not come twice. "
                f"Received: {int((rated > 1).sum())} such pairs"
            )
        if not self.built:
            self.build()
        self.rated.assign(rated)
        if self.explicit:
            for matrix, values in (
                (self.user_values, user_values),
                (self.item_values, item_values),
            ):
                filled = np.zeros_like(rated)
                filled[users, items] = values
                matrix.assign(filled)

    def of_users(self) -> tuple[Any, ...]:
        """Gives `rated` and, if explicit, the values: users by items."""
        matrices = [self.rated]
        if self.explicit:
            matrices.append(self.user_values)
        return tuple(ops.convert_to_tensor(matrix) for matrix in matrices)

    def of_items(self) -> tuple[Any, ...]:
        """Gives `rated` and, if explicit, the values: items by users."""
        matrices = [self.rated]
        if self.explicit:
            matrices.append(self.item_values)
        return tuple(
            ops.transpose(ops.convert_to_tensor(matrix)) for matrix in matrices
        )

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {
            **super().get_config(),
            "num_users": self.num_users,
            "num_items": self.num_items,
            "explicit": self.explicit,
        }
