"""The form in which every data set arrives."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_multi.errors import UsageError


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length, one of them the target.

    Example:
        >>> columns = {"age": np.array([24, 53]), "rating": np.array([3, 1])}
        >>> table = Table("ratings", columns, target="rating")
        >>> len(table), table["age"].tolist()
        (2, [24, 53])

    Attributes:
        name: name of the data set.
        columns: column name to an array of shape `(rows,)`, of integers,
            floats or unicode strings.
        target: name of the column to predict.

    Raises:
        UsageError: if there is no target column, or if the columns are not
            one-dimensional arrays of such a dtype with equal lengths.
    """

    name: str
    columns: dict[str, np.ndarray]
    target: str

    def __post_init__(self) -> None:
        for column, values in self.columns.items():
            if not isinstance(values, np.ndarray) or values.ndim != 1:
                shape = getattr(values, "shape", None)
                raise UsageError(
                    f"Column {column!r} of {self.name!r} must be a "
                    "one-dimensional NumPy array. Received: "
                    f"{type(values).__name__} of shape {shape}"
                )
            if values.dtype.kind not in "iufU":
                raise UsageError(
                    f"Column {column!r} of {self.name!r} must hold integers, "
                    f"floats or unicode strings. Received: dtype={values.dtype}"
                )
        lengths = {column: len(v) for column, v in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise UsageError(
                f"The columns of {self.name!r} must have equal lengths. "
                f"Received: {lengths}"
            )
        self[self.target]

    def __len__(self) -> int:
        return len(self.columns[self.target])

    def __getitem__(self, column: str) -> np.ndarray:
        if column not in self.columns:
            known = ", ".join(self.columns) or "none"
            raise UsageError(
                f"The table {self.name!r} has no column {column!r}. "
                f"Its columns: {known}."
            )
        return self.columns[column]

    def take(self, rows: Any) -> "Table":
        """Gives the table of some rows, in the order asked for.

        Args:
            rows: row numbers of shape `(n,)`, a mask of shape `(rows,)`, or
                a slice.

        Returns:
            A table with the same columns.

        Raises:
            UsageError: if a row is not in the table.
        """
        try:
            columns = {name: v[rows] for name, v in self.columns.items()}
        except IndexError as error:
            raise UsageError(
                f"Cannot take these rows of {self.name!r}, which has "
                f"{len(self):,} rows: {error}. Received: rows={rows!r}"
            ) from error
        return Table(self.name, columns, self.target)
