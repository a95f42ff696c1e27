"""Kinds of features: each turns one column into categories or a number.

A feature is fitted on the training rows. `fit` gives a new feature, so that
the one that was declared stays as it is.
"""

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from keras_multi.errors import DataError, UsageError

UNKNOWN = 0


@dataclass(frozen=True)
class Vocabulary:
    """Integers or strings, each value seen in training a category.

    Category 0 stands for values that training has not seen.

    Attributes:
        column: name of the column.
        unknown: `"map"` turns an unseen value into category 0, `"error"`
            refuses it.
        values: the sorted values of categories 1 and up; set by `fit`.
    """

    column: str
    unknown: str = "map"
    values: tuple[int, ...] | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.unknown not in ("map", "error"):
            raise UsageError(
                "unknown must be 'map' or 'error'. "
                f"Received: unknown={self.unknown!r}"
            )

    @property
    def size(self) -> int:
        """Number of categories, the unknown one included."""
        return len(fitted(self, self.values)) + 1

    def fit(self, column: np.ndarray) -> Self:
        """Collects the values of a column, shape `(rows,)`."""
        values = np.unique(_as_categories(self.column, column))
        return dataclasses.replace(self, values=tuple(values.tolist()))

    def transform(self, column: np.ndarray) -> np.ndarray:
        """Numbers the values: int32, shape `(rows,)`, in `[0, size)`."""
        known = np.array(fitted(self, self.values))
        column = _as_categories(self.column, column)
        if (known.dtype.kind == "U") != (column.dtype.kind == "U"):
            kinds = {True: "strings", False: "integers"}
            raise DataError(
                f"column {self.column!r} held "
                f"{kinds[known.dtype.kind == 'U']} in training and holds "
                f"{kinds[column.dtype.kind == 'U']} now"
            )
        place = np.minimum(np.searchsorted(known, column), len(known) - 1)
        seen = known[place] == column
        if self.unknown == "error" and not seen.all():
            first = int(np.argmin(seen))
            raise DataError(
                f"column {self.column!r} holds {(~seen).sum():,} values "
                "unseen in training, the first is "
                f"{column[first].item()!r} in row {first}"
            )
        return np.where(seen, place + 1, UNKNOWN).astype(np.int32)


@dataclass(frozen=True)
class Hashing:
    """Integers or strings, spread over a fixed number of categories.

    Needs no fitting and knows no unseen values, but values may share a
    category. The hash is the same in every process and on every platform:
    SplitMix64 for integers, BLAKE2b for strings.

    Attributes:
        column: name of the column.
        bins: number of categories.
    """

    column: str
    bins: int

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise UsageError(
                f"bins must be at least 1. Received: bins={self.bins}"
            )

    @property
    def size(self) -> int:
        """Number of categories."""
        return self.bins

    def fit(self, column: np.ndarray) -> Self:
        """Checks the type of the column; there is nothing to learn."""
        _as_categories(self.column, column)
        return self

    def transform(self, column: np.ndarray) -> np.ndarray:
        """Numbers the values: int32, shape `(rows,)`, in `[0, bins)`."""
        column = _as_categories(self.column, column)
        if column.dtype.kind == "U":
            values, place = np.unique(column, return_inverse=True)
            hashes = np.array([_blake2b(v) for v in values], np.uint64)[place]
        else:
            hashes = _splitmix64(column.astype(np.int64).view(np.uint64))
        return (hashes % np.uint64(self.bins)).astype(np.int32)


@dataclass(frozen=True)
class Buckets:
    """Numbers, cut into intervals that serve as categories.

    Attributes:
        column: name of the column.
        count: number of buckets, cut so that each gets an equal share of the
            training rows. Equal quantiles fall together.
        boundaries: ascending cut points instead; a value equal to one
            belongs above it. Set by `fit` if `count` is given.
    """

    column: str
    count: int | None = None
    boundaries: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.count is None and self.boundaries is None:
            raise UsageError("Buckets needs a count or boundaries")
        if self.count is not None and self.count < 2:
            raise UsageError(
                f"count must be at least 2. Received: count={self.count}"
            )
        if self.boundaries is not None and (
            not self.boundaries or np.any(np.diff(self.boundaries) <= 0)
        ):
            raise UsageError(
                "boundaries must ascend, and there must be one at least. "
                f"Received: boundaries={self.boundaries}"
            )

    @property
    def size(self) -> int:
        """Number of buckets."""
        return len(fitted(self, self.boundaries)) + 1

    def fit(self, column: np.ndarray) -> Self:
        """Finds the quantiles of a column, shape `(rows,)`."""
        column = as_numbers(self.column, column)
        if self.count is None:
            return self
        shares = np.arange(1, self.count) / self.count
        cuts = np.unique(np.quantile(column, shares))
        return dataclasses.replace(self, boundaries=tuple(cuts.tolist()))

    def transform(self, column: np.ndarray) -> np.ndarray:
        """Numbers the buckets: int32, shape `(rows,)`, in `[0, size)`."""
        boundaries = np.array(fitted(self, self.boundaries))
        column = as_numbers(self.column, column)
        place = np.searchsorted(boundaries, column, side="right")
        return place.astype(np.int32)


@dataclass(frozen=True)
class Numeric:
    """One number, as it is or brought to mean 0 and deviation 1.

    Attributes:
        column: name of the column.
        standardize: whether to subtract the mean and divide by the standard
            deviation of the training rows.
        mean: set by `fit`.
        deviation: set by `fit`; 1 for a constant column.
    """

    column: str
    standardize: bool = True
    mean: float | None = None
    deviation: float | None = None

    @property
    def width(self) -> int:
        """Numbers a row."""
        return 1

    def fit(self, column: np.ndarray) -> Self:
        """Measures mean and deviation of a column, shape `(rows,)`."""
        column = as_numbers(self.column, column)
        if not self.standardize:
            return self
        return dataclasses.replace(
            self,
            mean=float(column.mean()),
            deviation=float(column.std()) or 1.0,
        )

    def transform(self, column: np.ndarray) -> np.ndarray:
        """Gives the numbers: float32, shape `(rows,)`."""
        column = as_numbers(self.column, column)
        if self.standardize:
            column = (column - fitted(self, self.mean)) / self.deviation
        return column.astype(np.float32)


def _as_categories(name: str, column: np.ndarray) -> np.ndarray:
    if column.dtype.kind not in "iuU":
        raise DataError(
            f"column {name!r} must hold integers or strings to serve as "
            f"categories. Received: dtype={column.dtype}"
        )
    return column


def as_numbers(name: str, column: np.ndarray) -> np.ndarray:
    """Gives finite numbers as float64.

    Raises:
        DataError: if the column holds anything else.
    """
    if column.dtype.kind not in "iuf":
        raise DataError(
            f"column {name!r} must hold numbers. Received: dtype={column.dtype}"
        )
    column = column.astype(np.float64)
    bad = ~np.isfinite(column)
    if bad.any():
        raise DataError(
            f"column {name!r} holds NaN or infinity in {bad.sum():,} of "
            f"{len(column):,} rows, the first is row {int(np.argmax(bad))}; "
            "fill or drop them"
        )
    return column


def fitted(feature: Any, state: Any) -> Any:
    """Gives the state of a feature.

    Raises:
        UsageError: if it has none yet.
    """
    if state is None:
        raise UsageError(
            f"the feature of column {feature.column!r} is not fitted; call "
            "fit on the training rows first"
        )
    return state


def _blake2b(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _splitmix64(x: np.ndarray) -> np.ndarray:
    """Mixes 64-bit integers; Steele et al. 2014, fast splittable PRNGs."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
