"""Ways to split a table. The parts share no row and together hold every row.

A split depends on its arguments alone, so that a model which is evaluated
later, in another process, is never tested on rows that it was trained on.
"""

import math
from collections.abc import Sequence

import numpy as np

from keras_multi.data.table import Table
from keras_multi.errors import UsageError


def random_split(
    table: Table, fractions: Sequence[float] = (0.8, 0.2), seed: int = 42
) -> tuple[Table, ...]:
    """Splits at random, by one permutation that the seed fixes.

    Example:
        >>> table = Table("t", {"x": np.arange(10)}, target="x")
        >>> train, test = random_split(table, (0.7, 0.3), seed=1)
        >>> len(train), len(test)
        (7, 3)

    Args:
        table: the table to split.
        fractions: share of the rows of each part; they sum to 1.
        seed: seed of the permutation.

    Returns:
        One table for each fraction, with its rows in random order.

    Raises:
        UsageError: if the fractions are negative, do not sum to 1 or leave a
            part without rows.
    """
    order = np.random.default_rng(seed).permutation(len(table))
    return _cut(table, order, fractions)


def time_split(
    table: Table,
    column: str = "timestamp",
    fractions: Sequence[float] = (0.8, 0.2),
) -> tuple[Table, ...]:
    """Splits by time: no row is earlier than a row of the part before it.

    Rows of the same time keep their order.

    Example:
        >>> table = Table("t", {"timestamp": np.array([3, 1, 2])}, "timestamp")
        >>> train, test = time_split(table, fractions=(2 / 3, 1 / 3))
        >>> train["timestamp"].tolist(), test["timestamp"].tolist()
        ([1, 2], [3])

    Args:
        table: the table to split.
        column: name of the column of times.
        fractions: share of the rows of each part, earliest first; they sum
            to 1.

    Returns:
        One table for each fraction, with its rows in order of time.

    Raises:
        UsageError: if there is no such column, or if the fractions are
            negative, do not sum to 1 or leave a part without rows.
    """
    order = np.argsort(table[column], kind="stable")
    return _cut(table, order, fractions)


def leave_last_out(
    table: Table, user: str = "user_id", time: str = "timestamp"
) -> tuple[Table, Table]:
    """Holds out the last row of every user.

    Of rows of the same time, the one that comes last in the table counts as
    the last. A user who has one row only stays in the training part.

    Example:
        >>> columns = {
        ...     "user_id": np.array([7, 7, 8]),
        ...     "timestamp": np.array([20, 10, 30]),
        ... }
        >>> train, test = leave_last_out(Table("t", columns, "timestamp"))
        >>> train["timestamp"].tolist(), test["timestamp"].tolist()
        ([10, 30], [20])

    Args:
        table: the table to split.
        user: name of the column of users.
        time: name of the column of times.

    Returns:
        The training table and the test table, rows in the order of the table.

    Raises:
        UsageError: if there is no such column, or if no user has two rows.
    """
    _, users, rows_of_user = np.unique(
        table[user], return_inverse=True, return_counts=True
    )
    by_user_and_time = np.lexsort((table[time], users))
    last = np.cumsum(rows_of_user) - 1
    held_out = by_user_and_time[last[rows_of_user > 1]]
    if not len(held_out):
        raise UsageError(
            f"Cannot hold out the last row of each {user!r} of "
            f"{table.name!r}: none has two rows or more."
        )
    is_test = np.zeros(len(table), dtype=bool)
    is_test[held_out] = True
    return table.take(~is_test), table.take(is_test)


def group_split(
    table: Table, column: str, fraction: float = 0.2, seed: int = 42
) -> tuple[Table, Table]:
    """Holds out all rows of some values of a column, for cold start.

    Example:
        >>> table = Table("t", {"item": np.array([5, 7, 5, 9])}, target="item")
        >>> train, test = group_split(table, "item", 1 / 3)
        >>> set(train["item"].tolist()) & set(test["item"].tolist())
        set()

    Args:
        table: the table to split.
        column: name of the column, such as that of the items.
        fraction: share of its values to hold out.
        seed: seed of the drawing.

    Returns:
        The training table and the test table, rows in the order of the table.

    Raises:
        UsageError: if there is no such column, or if a part gets no value.
    """
    values, group = np.unique(table[column], return_inverse=True)
    count = round(fraction * len(values))
    if not 0 < count < len(values):
        raise UsageError(
            f"Each part of a split of {table.name!r} must get one of the "
            f"{len(values):,} values of {column!r}. Received: "
            f"fraction={fraction}"
        )
    held_out = np.random.default_rng(seed).permutation(len(values))[:count]
    is_test = np.isin(group, held_out)
    return table.take(~is_test), table.take(is_test)


def _cut(
    table: Table, order: np.ndarray, fractions: Sequence[float]
) -> tuple[Table, ...]:
    """Cuts the rows in this order into consecutive parts."""
    if any(fraction < 0 for fraction in fractions) or not math.isclose(
        sum(fractions), 1, abs_tol=1e-6
    ):
        raise UsageError(
            "The fractions of a split must not be negative and must sum to 1. "
            f"Received: fractions={tuple(fractions)}"
        )
    bounds = np.rint(np.cumsum(fractions)[:-1] * len(table)).astype(int)
    parts = np.split(order, bounds)
    if not all(len(part) for part in parts):
        raise UsageError(
            f"Each part of a split of {table.name!r} ({len(table):,} rows) "
            f"must get a row. Received: fractions={tuple(fractions)}"
        )
    return tuple(table.take(part) for part in parts)
