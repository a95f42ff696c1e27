"""Features of a time: its part of the day or week.

A time is the number of seconds since 1970, in UTC, as in MovieLens. For
longer spans `recsys.columns.Buckets` and `Numeric` serve.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from keras_multi.errors import UsageError
from recsys.columns import as_numbers

DAY = 86_400
# 1970 began on a Thursday; weeks begin on Monday.
FIRST_WEEKDAY = 3

# Part: number of values, seconds of one value.
PARTS = {"hour": (24, DAY // 24), "weekday": (7, DAY)}


@dataclass(frozen=True)
class TimePart:
    """The hour of the day (0 to 23) or the day of the week (Monday is 0).

    Attributes:
        column: name of the column.
        part: `"hour"` or `"weekday"`.

    Example:
        >>> TimePart("time", "weekday").transform(np.array([0, 86400])).tolist()
        [3, 4]
    """

    column: str
    part: str

    def __post_init__(self) -> None:
        _check_part(self.part)

    @property
    def size(self) -> int:
        """Number of categories."""
        return PARTS[self.part][0]

    def fit(self, column: np.ndarray) -> Self:
        """Checks the column; there is nothing to learn."""
        as_numbers(self.column, column)
        return self

    def transform(self, column: np.ndarray) -> np.ndarray:
        """Gives the part: int32, shape `(rows,)`, in `[0, size)`."""
        place = _place(self.part, as_numbers(self.column, column))
        return place.astype(np.int32)


@dataclass(frozen=True)
class CyclicTime:
    """Sine and cosine of the time of the day or week, so that it wraps.

    Attributes:
        column: name of the column.
        part: `"hour"` for a turn a day, `"weekday"` for a turn a week.

    Example:
        >>> CyclicTime("time", "hour").transform(np.array([0])).tolist()
        [[0.0, 1.0]]
    """

    column: str
    part: str

    def __post_init__(self) -> None:
        _check_part(self.part)

    @property
    def width(self) -> int:
        """Numbers a row: a sine and a cosine."""
        return 2

    def fit(self, column: np.ndarray) -> Self:
        """Checks the column; there is nothing to learn."""
        as_numbers(self.column, column)
        return self

    def transform(self, column: np.ndarray) -> np.ndarray:
        """Gives sine and cosine: float32, shape `(rows, 2)`."""
        place = _place(self.part, as_numbers(self.column, column))
        angle = 2 * np.pi * place / PARTS[self.part][0]
        return np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(
            np.float32
        )


def _place(part: str, seconds: np.ndarray) -> np.ndarray:
    """The place in the day in hours, or in the week in days, with fraction."""
    values, unit = PARTS[part]
    offset = FIRST_WEEKDAY * DAY if part == "weekday" else 0
    return (seconds + offset) % (values * unit) / unit


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise UsageError(
            f"part must be one of {', '.join(PARTS)}. Received: part={part!r}"
        )
