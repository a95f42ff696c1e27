"""Feature pre-processing in NumPy: columns of a table to arrays of a model.

`Features` holds the features of a model (see `recsys.columns`) and is kept as
JSON beside its weights, so that the same input gives the same numbers on
every backend and machine.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from recsys.columns import (
    UNKNOWN,
    Buckets,
    Feature,
    Hashing,
    Numeric,
    Vocabulary,
)
from recsys.files import read_json, write_json

_KINDS: dict[str, type[Feature]] = {
    kind.__name__: kind for kind in (Vocabulary, Hashing, Buckets, Numeric)
}


class Features:
    """The features of a model, categorical ones first, then numeric ones.

    Args:
        features: fitted or not; at least one, each of another column.

    Raises:
        UsageError: if there are none, or a column comes twice.

    Example:
        >>> from recsys.columns import Numeric, Vocabulary
        >>> columns = {"id": np.array([7, 9]), "age": np.array([20.0, 40.0]),
        ...            "y": np.array([0.0, 1.0])}
        >>> table = Table("tiny", columns, target="y")
        >>> features = Features([Vocabulary("id"), Numeric("age")]).fit(table)
        >>> features.names, features.vocabulary_sizes
        (('id', 'age'), (3,))
        >>> features.transform(table)["categorical"].tolist()
        [[1], [2]]
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        names = [feature.column for feature in features]
        if not names or len(set(names)) < len(names):
            raise UsageError(
                "there must be at least one feature, each of another column. "
                f"Received: columns={names}"
            )
        self.categorical = tuple(
            f for f in features if not isinstance(f, Numeric)
        )
        self.numeric = tuple(f for f in features if isinstance(f, Numeric))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in the order in which a model sees them."""
        return tuple(f.column for f in (*self.categorical, *self.numeric))

    @property
    def vocabulary_sizes(self) -> tuple[int, ...]:
        """Number of categories of each categorical feature."""
        return tuple(feature.size for feature in self.categorical)

    def fit(self, table: Table) -> "Features":
        """Fits all features to the training rows.

        Args:
            table: the training rows.

        Returns:
            New features, fitted.

        Raises:
            DataError: if the table has no rows, lacks a column, or a column
                is not of the right kind or holds NaN or infinity.
        """
        _check_columns(table, self.names)
        return Features(
            [
                feature.fit(table[feature.column])
                for feature in (*self.categorical, *self.numeric)
            ]
        )

    def transform(self, table: Table) -> dict[str, np.ndarray]:
        """Turns a table into the inputs of a model.

        Args:
            table: any rows with the same columns.

        Returns:
            `"categorical"`, int32 of shape `(rows, categorical features)`,
            and `"dense"`, float32 of shape `(rows, numeric features)`.

        Raises:
            DataError: as `fit`; also for a value that a
                `Vocabulary(unknown="error")` has not seen.
        """
        _check_columns(table, self.names)
        inputs = {
            "categorical": np.empty(
                (len(table), len(self.categorical)), np.int32
            ),
            "dense": np.empty((len(table), len(self.numeric)), np.float32),
        }
        for i, category in enumerate(self.categorical):
            inputs["categorical"][:, i] = category.transform(
                table[category.column]
            )
        for i, number in enumerate(self.numeric):
            inputs["dense"][:, i] = number.transform(table[number.column])
        return inputs

    def unseen(self, inputs: dict[str, np.ndarray]) -> dict[str, int]:
        """Counts the rows with a value unseen in training, by column.

        Args:
            inputs: what `transform` gave.

        Returns:
            Only columns with such rows.
        """
        counts = {
            feature.column: int((inputs["categorical"][:, i] == UNKNOWN).sum())
            for i, feature in enumerate(self.categorical)
            if isinstance(feature, Vocabulary)
        }
        return {column: count for column, count in counts.items() if count}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the features as JSON.

        Raises:
            KerasMultiError: if the file cannot be written.
        """
        features = [
            {"type": type(feature).__name__, **dataclasses.asdict(feature)}
            for feature in (*self.categorical, *self.numeric)
        ]
        write_json(path, {"features": features})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Features":
        """Reads features that `save` has written.

        Raises:
            DataError: if the file cannot be read or is not such a file.
        """
        content = read_json(path)
        try:
            return cls([_from_json(dict(f)) for f in content["features"]])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{Path(path)} does not hold features: {error}; train again"
            ) from error


def _from_json(fields: dict[str, Any]) -> Feature:
    kind = _KINDS[fields.pop("type")]
    lists = {k: tuple(v) for k, v in fields.items() if isinstance(v, list)}
    return kind(**{**fields, **lists})


def _check_columns(table: Table, columns: Sequence[str]) -> None:
    if not len(table):
        raise DataError(f"the table {table.name!r} has no rows")
    for column in columns:
        if column not in table.columns:
            raise DataError(
                f"the table {table.name!r} lacks the column {column!r}; it "
                f"has {', '.join(table.columns)}"
            )
