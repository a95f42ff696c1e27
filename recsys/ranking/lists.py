"""Lists of items that a user has rated."""

import numpy as np

from keras_multi.errors import DataError, UsageError


def sample_lists(
    groups: np.ndarray,
    length: int = 5,
    lists_per_group: int = 50,
    seed: int = 42,
) -> np.ndarray:
    """Draws lists of rows of one group, for every group.

    A group holds, as a rule, the ratings of a user. Each list holds different
    rows, drawn at random without replacement; lists of one group may overlap.
    A group with fewer rows than a list has items gets no list.

    Args:
        groups: group of each row, shape `(rows,)`, such as the users.
        length: number of items of a list, at least 2.
        lists_per_group: number of lists of each group, at least 1.
        seed: seed of the draws.

    Returns:
        Row numbers, int64 of shape `(lists, length)`, ordered by group.

    Raises:
        UsageError: if a number is out of range.
        DataError: if no group has enough rows.

    Example:
        >>> users = np.array([7, 7, 7, 8])
        >>> lists = sample_lists(users, length=2, lists_per_group=3)
        >>> lists.shape, set(lists.ravel().tolist()) <= {0, 1, 2}
        ((3, 2), True)
    """
    if length < 2 or lists_per_group < 1:
        raise UsageError(
            "length must be at least 2 and lists_per_group at least 1. "
            f"Received: length={length}, lists_per_group={lists_per_group}"
        )
    rng = np.random.default_rng(seed)
    _, place, counts = np.unique(
        groups, return_inverse=True, return_counts=True
    )
    rows_by_group = np.split(
        np.argsort(place, kind="stable"), np.cumsum(counts)[:-1]
    )
    lists = [
        rows[np.argsort(rng.random((lists_per_group, len(rows))))[:, :length]]
        for rows in rows_by_group
        if len(rows) >= length
    ]
    if not lists:
        raise DataError(
            f"the lists have {length} items, but no user has so many ratings"
        )
    return np.concatenate(lists)
