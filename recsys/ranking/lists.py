"""Lists of items that a user has rated, and how well they are ordered."""

import numpy as np

from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError


def sample_lists(
    table: Table, length: int = 5, lists_per_user: int = 50, seed: int = 42
) -> np.ndarray:
    """Draws lists of the ratings of a user, for every user.

    Each list holds different rows, drawn at random without replacement;
    lists of one user may overlap. A user with fewer rows than a list has
    items gets no list. Lists for training and for the test are disjoint if
    the tables that they are drawn from are.

    Args:
        table: ratings, with a column `user_id`.
        length: number of items of a list, at least 2.
        lists_per_user: number of lists of each user, at least 1.
        seed: seed of the draws.

    Returns:
        Row numbers of the table, int64 of shape `(lists, length)`, ordered by
        user.

    Raises:
        UsageError: if a number is out of range.
        DataError: if no user has enough rows.

    Example:
        >>> import numpy as np
        >>> users = np.array([7, 7, 7, 8])
        >>> table = Table("t", {"user_id": users}, target="user_id")
        >>> lists = sample_lists(table, length=2, lists_per_user=3)
        >>> lists.shape, set(lists.ravel().tolist()) <= {0, 1, 2}
        ((3, 2), True)
    """
    if length < 2 or lists_per_user < 1:
        raise UsageError(
            "length must be at least 2 and lists_per_user at least 1. "
            f"Received: length={length}, lists_per_user={lists_per_user}"
        )
    rng = np.random.default_rng(seed)
    _, users, counts = np.unique(
        table["user_id"], return_inverse=True, return_counts=True
    )
    rows_by_user = np.split(
        np.argsort(users, kind="stable"), np.cumsum(counts)[:-1]
    )
    lists = [
        rows[np.argsort(rng.random((lists_per_user, len(rows))))[:, :length]]
        for rows in rows_by_user
        if len(rows) >= length
    ]
    if not lists:
        raise DataError(
            f"no user of {table.name!r} has {length} ratings, the length of "
            "a list"
        )
    return np.concatenate(lists)
