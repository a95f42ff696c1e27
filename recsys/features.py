"""Feature pre-processing in NumPy: columns of a table to arrays of a model.

`Features` holds the features of a model (see `recsys.columns`) and is kept as
JSON beside its weights, so that the same input gives the same numbers on
every backend and machine.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from keras_multi.files import read_json, write_json
from recsys.bags import MultiHot, Text
from recsys.columns import UNKNOWN, Buckets, Hashing, Numeric, Vocabulary
from recsys.times import CyclicTime, TimePart

Categorical = Vocabulary | Hashing | Buckets | TimePart
Dense = Numeric | CyclicTime
Bag = MultiHot | Text
Feature = Categorical | Dense | Bag

_KINDS: dict[str, type[Feature]] = {
    kind.__name__: kind
    for kind in (
        Vocabulary,
        Hashing,
        Buckets,
        TimePart,
        Numeric,
        CyclicTime,
        MultiHot,
        Text,
    )
}


class Features:
    """The features of a model: categorical, then numeric ones, then bags.

    Args:
        features: fitted or not; at least one, no two of the same kind and
            column.

    Raises:
        UsageError: if there are none, or two are of the same kind and column.

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
        kinds = [_described(feature) for feature in features]
        if not kinds or len(set(kinds)) < len(kinds):
            raise UsageError(
                "there must be at least one feature, each of another column "
                f"or kind. Received: {', '.join(kinds) or 'none'}"
            )
        self.categorical = tuple(
            f for f in features if isinstance(f, Categorical)
        )
        self.numeric = tuple(f for f in features if isinstance(f, Dense))
        self.bags = tuple(f for f in features if isinstance(f, Bag))

    def __iter__(self) -> Iterator[Feature]:
        return iter((*self.categorical, *self.numeric, *self.bags))

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order in which a model sees the features.

        A feature is named like its column; features of the same column have
        their kind added, as in `"timestamp buckets"`.
        """
        uses = Counter(feature.column for feature in self)
        return tuple(
            f.column if uses[f.column] == 1 else _described(f) for f in self
        )

    @property
    def vocabulary_sizes(self) -> tuple[int, ...]:
        """Number of categories of each categorical feature."""
        return tuple(feature.size for feature in self.categorical)

    @property
    def num_dense(self) -> int:
        """Number of numbers a row, of all numeric features."""
        return sum(feature.width for feature in self.numeric)

    @property
    def bag_sizes(self) -> dict[str, int]:
        """Number of categories of each bag, by its name."""
        return {
            name: bag.size
            for name, bag in zip(self._bag_names, self.bags, strict=True)
        }

    @property
    def _bag_names(self) -> tuple[str, ...]:
        return self.names[len(self.categorical) + len(self.numeric) :]

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
        self._check_columns(table)
        return Features([f.fit(table[f.column]) for f in self])

    def transform(self, table: Table) -> dict[str, Any]:
        """Turns a table into the inputs of a model.

        Args:
            table: any rows with the same columns.

        Returns:
            `"categorical"`, int32 of shape `(rows, categorical features)`,
            and `"dense"`, float32 of shape `(rows, num_dense)`. If there are
            bags also `"bags"`, a dictionary from the name of a bag to int32
            of shape `(rows, length)`, padded with -1.

        Raises:
            DataError: as `fit`; also for a value that a
                `Vocabulary(unknown="error")` has not seen.
        """
        self._check_columns(table)
        inputs: dict[str, Any] = {
            "categorical": np.empty(
                (len(table), len(self.categorical)), np.int32
            ),
            "dense": np.empty((len(table), self.num_dense), np.float32),
        }
        for i, category in enumerate(self.categorical):
            inputs["categorical"][:, i] = category.transform(
                table[category.column]
            )
        start = 0
        for number in self.numeric:
            values = number.transform(table[number.column])
            end = start + number.width
            inputs["dense"][:, start:end] = values.reshape(len(table), -1)
            start = end
        if self.bags:
            inputs["bags"] = {
                name: bag.transform(table[bag.column])
                for name, bag in zip(self._bag_names, self.bags, strict=True)
            }
        return inputs

    def unseen(self, inputs: Mapping[str, Any]) -> dict[str, int]:
        """Counts the rows with a value unseen in training, by name.

        Args:
            inputs: what `transform` gave.

        Returns:
            Only features with such rows. An empty bag counts too.
        """
        names = self.names
        counts = {
            names[i]: int((inputs["categorical"][:, i] == UNKNOWN).sum())
            for i, feature in enumerate(self.categorical)
            if isinstance(feature, Vocabulary)
        }
        for name in self._bag_names:
            unknown = inputs["bags"][name] == UNKNOWN
            counts[name] = int(unknown.any(axis=1).sum())
        return {name: count for name, count in counts.items() if count}

    def _check_columns(self, table: Table) -> None:
        if not len(table):
            raise DataError(f"the table {table.name!r} has no rows")
        for feature in self:
            if feature.column not in table.columns:
                raise DataError(
                    f"the table {table.name!r} lacks the column "
                    f"{feature.column!r}; it has {', '.join(table.columns)}"
                )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the features as JSON.

        Raises:
            KerasMultiError: if the file cannot be written.
        """
        features = [
            {"type": type(feature).__name__, **dataclasses.asdict(feature)}
            for feature in self
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


def _described(feature: Feature) -> str:
    """Names a feature by column, part (of a time) and kind."""
    part = [feature.part] if isinstance(feature, TimePart | CyclicTime) else []
    return " ".join([feature.column, *part, type(feature).__name__.lower()])
