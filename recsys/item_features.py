"""Columns of a table as a sparse matrix of binary features, with names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from keras_multi.data import Table
from keras_multi.errors import UsageError


def table_features(
    table: Table, columns: Sequence[str], separator: str = "|"
) -> tuple[sparse.csr_array, list[str]]:
    """Turns columns into binary features.

    Args:
        table: one row an item.
        columns: columns of strings, each of them none, one or several
            features such as `"Action|Drama"`, or of integers, each a feature.
        separator: what separates the features in a string.

    Returns:
        Features, float64 `(rows, F)`, and their names, such as
        `"genres=Drama"`.

    Raises:
        UsageError: if there is no such column, or it holds floats.

    Example:
        >>> columns = {"app": np.array([1, 2]), "kind": np.array(["a|b", "b"])}
        >>> apps = Table("apps", columns, target="app")
        >>> features, names = table_features(apps, ["kind"])
        >>> names, features.toarray().tolist()
        (['kind=a', 'kind=b'], [[1.0, 1.0], [0.0, 1.0]])
    """
    blocks, names = [], []
    for column in columns:
        if table[column].dtype.kind not in "iuU":
            raise UsageError(
                f"the column {column!r} must hold strings or integers. "
                f"Received: dtype={table[column].dtype}"
            )
        split = [
            sorted(
                {part.strip() for part in str(value).split(separator)} - {""}
            )
            for value in table[column]
        ]
        parts = np.array([part for row in split for part in row], np.str_)
        values, places = np.unique(parts, return_inverse=True)
        sizes = [len(row) for row in split]
        shape = (len(table), len(values))
        blocks.append(sparse_rows(sizes, places, np.ones(len(places)), shape))
        names += [f"{column}={value}" for value in values]
    return sparse.csr_array(sparse.hstack(blocks)), names


def sparse_rows(
    sizes: Sequence[int],
    columns: Any,
    values: np.ndarray,
    shape: tuple[int, int],
) -> sparse.csr_array:
    """Builds a sparse matrix row by row.

    Args:
        sizes: number of values in each row.
        columns: column of each value, the first row first.
        values: the values; those of the same row and column add up.
        shape: shape of the matrix.
    """
    rows = np.repeat(np.arange(len(sizes)), sizes)
    return sparse.csr_array(
        (values, (rows, np.asarray(columns, np.int64))), shape=shape
    )
