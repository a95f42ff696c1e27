"""The inputs of a ranker for many items of each user."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_multi.data import Table
from recsys.features import Feature, Features


class PairEncoder:
    """Encodes pairs of user and item, each side once.

    What `Features.transform` gives for a table with a row a pair, without
    making that table: the columns of the catalogue are encoded here, those of
    the users at each call, once a user.

    Args:
        features: the fitted features of the ranker, without bags.
        catalogue: one row an item. A feature whose column is in it belongs
            to the item, all others to the user.
    """

    def __init__(self, features: Features, catalogue: Table) -> None:
        ours = [f for f in features if f.column in catalogue.columns]
        theirs = [f for f in features if f.column not in catalogue.columns]
        self._user = Features(theirs) if theirs else None
        self._item: dict[str, Any] = {}
        if ours:
            self._item = Features(ours).transform(catalogue)
        joined = (*theirs, *ours)
        self._order = {
            "categorical": _order(features.categorical, joined),
            "dense": _order(features.numeric, joined),
        }

    @property
    def user_columns(self) -> list[str]:
        """The columns that the users must have."""
        return [feature.column for feature in self._user or ()]

    def __call__(self, users: Table, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Encodes pairs.

        Args:
            users: B rows.
            rows: rows of the catalogue, shape `(B, C)`.

        Returns:
            `"categorical"` and `"dense"` as `Features.transform` gives them,
            with `B * C` rows, user by user.
        """
        encoded = self._user.transform(users) if self._user else {}
        inputs = {}
        for part, order in self._order.items():
            sides = []
            if part in encoded:
                sides.append(np.repeat(encoded[part], rows.shape[1], axis=0))
            if part in self._item:
                sides.append(self._item[part][rows.reshape(-1)])
            inputs[part] = np.concatenate(sides, axis=1)[:, order]
        return inputs


def _order(wanted: Sequence[Feature], joined: Sequence[Feature]) -> np.ndarray:
    """Where the columns of each feature are, users' before items'."""
    starts, end = {}, 0
    for feature in joined:
        if feature in wanted:
            starts[feature] = end
            end += _width(feature)
    places = [starts[f] + i for f in wanted for i in range(_width(f))]
    return np.array(places, np.int64)


def _width(feature: Feature) -> int:
    width: int = getattr(feature, "width", 1)
    return width
