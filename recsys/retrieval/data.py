"""The rows, the corpus and the features of retrieval.

Every rating, of whatever value, is an interaction: the user chose the item.
"""

from typing import NamedTuple

import numpy as np

from keras_multi import data
from keras_multi.data import Table
from keras_multi.errors import UsageError
from recsys.bags import MultiHot, Text
from recsys.columns import Buckets, Numeric, Vocabulary
from recsys.data import SPLIT_SEED, VALIDATION_SHARE
from recsys.features import Feature, Features

PROTOCOLS = ("random", "leave-last-out")
FEATURES = ("ids", "time", "all")


class Split(NamedTuple):
    """The rows of a protocol.

    Attributes:
        train: interactions to learn from.
        test: interactions to find.
        items: one row an item, of all items of the data set, by rising
            `item_id`. Its row numbers are the ids of the candidates.
    """

    train: Table
    test: Table
    items: Table

    def rows_of_items(self, table: Table) -> np.ndarray:
        """Gives the row in `items` of each interaction: int32, `(rows,)`."""
        place = np.searchsorted(self.items["item_id"], table["item_id"])
        return place.astype(np.int32)


def load(name: str, protocol: str, validation: bool = False) -> Split:
    """Loads a data set in the fixed split of a protocol.

    Args:
        name: name of the data set.
        protocol: `"random"` holds out a fifth of all interactions at random
            (seed 42), `"leave-last-out"` the last one of every user.
        validation: whether to split the training part once more, and to give
            the held-out part of that (a tenth, or the last of every user) as
            `test`. The test rows are then in neither part.

    Returns:
        The rows.

    Raises:
        UsageError: if a name is unknown.
        DataError: if the data cannot be fetched.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(
            f"unknown protocol {protocol!r}; choose one of "
            f"{', '.join(PROTOCOLS)}"
        )
    table = data.load(name)
    _, first_rows = np.unique(table["item_id"], return_index=True)
    items = table.take(first_rows)
    if protocol == "random":
        train, test = data.random_split(table, (0.8, 0.2), seed=SPLIT_SEED)
        if validation:
            shares = (1 - VALIDATION_SHARE, VALIDATION_SHARE)
            train, test = data.random_split(train, shares, seed=SPLIT_SEED)
    else:
        train, test = data.leave_last_out(table)
        if validation:
            train, test = data.leave_last_out(train)
    return Split(train, test, items)


def user_features(kind: str) -> Features:
    """Makes the features of the user's side, not fitted yet.

    Args:
        kind: `"ids"`; `"time"` adds when the user asks; `"all"` adds also
            who the user is.

    Raises:
        UsageError: if the kind is unknown.
    """
    _check_kind(kind)
    features: list[Feature] = [Vocabulary("user_id")]
    time: list[Feature] = [
        Buckets("timestamp", count=1000),
        Numeric("timestamp"),
    ]
    person: list[Feature] = [
        Vocabulary("gender"),
        Vocabulary("occupation"),
        Buckets("age", boundaries=(18, 25, 35, 45, 50, 56)),
    ]
    if kind == "ids":
        return Features(features)
    return Features([*features, *time, *(person if kind == "all" else [])])


def item_features(kind: str) -> Features:
    """Makes the features of the item's side, not fitted yet.

    Args:
        kind: `"ids"` and `"time"`: the item alone; `"all"` adds year, genres
            and words of the title.

    Raises:
        UsageError: if the kind is unknown.
    """
    _check_kind(kind)
    content: list[Feature] = [
        Buckets("release_year", count=20),
        MultiHot("genres"),
        Text("movie_title", min_count=100),
    ]
    return Features(
        [Vocabulary("item_id"), *(content if kind == "all" else [])]
    )


def seen_items(
    users: np.ndarray, items: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """Lists what each user has chosen in training.

    Args:
        users: user of each training interaction.
        items: row of its item.
        asked: the users of some queries, shape `(queries,)`.

    Returns:
        Int32 `(queries, longest)`, padded with -1.

    Example:
        >>> seen_items(np.array([7, 8, 7]), np.arange(3), np.array([7, 9]))
        array([[ 0,  2],
               [-1, -1]], dtype=int32)
    """
    order = np.argsort(users, kind="stable")
    users, items = users[order], items[order]
    start = np.searchsorted(users, asked, side="left")
    count = np.searchsorted(users, asked, side="right") - start
    place = np.arange(max(count.max(initial=0), 1))
    inside = place < count[:, None]
    rows = np.where(inside, start[:, None] + place, 0)
    return np.where(inside, items[rows], -1).astype(np.int32)


def _check_kind(kind: str) -> None:
    if kind not in FEATURES:
        raise UsageError(
            f"unknown features {kind!r}; choose one of {', '.join(FEATURES)}"
        )
