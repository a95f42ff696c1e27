"""What is known of the users: their columns and what they have rated."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from keras_multi.data import Table
from keras_multi.errors import UsageError
from recsys.items import Items, Value
from recsys.request import Request, UnknownUserError


class History(NamedTuple):
    """What one user has rated.

    Attributes:
        rows: rows of the catalogue, shape `(n,)`.
        ratings: shape `(n,)`.
    """

    rows: np.ndarray
    ratings: np.ndarray


NOTHING = History(np.empty(0, np.int64), np.empty(0, np.float32))


class Profiles:
    """Users by id.

    Args:
        users: one row a user; its target is the column of their ids.
        history: one row a rating, ordered by user and time, with the columns
            `user` (id), `time`, `row` (of the catalogue) and `rating`.
    """

    def __init__(self, users: Table, history: Table) -> None:
        self.users, self.history = users, history
        self.id_column = users.target
        ids = users[self.id_column]
        self._places = {id_: place for place, id_ in enumerate(ids.tolist())}
        self._starts = np.searchsorted(history["user"], ids, side="left")
        self._ends = np.searchsorted(history["user"], ids, side="right")
        self._defaults = {
            name: _default(name == self.id_column, column)
            for name, column in users.columns.items()
        }

    @classmethod
    def of(
        cls, ratings: Table, columns: Iterable[str], catalogue: Items
    ) -> Self:
        """Takes the users from their ratings.

        The last rating of a user tells the columns of that user. The time is
        one more than that of the rating: the user asks after it.

        Args:
            ratings: one row a rating, with all columns; its target is the
                rating.
            columns: what to keep of a user.
            catalogue: the items.

        Returns:
            The profiles, users in rising order of their ids.

        Raises:
            UsageError: if a column is missing or an item is not in the
                catalogue.
        """
        schema = catalogue.schema
        user, time = ratings[schema.user], ratings[schema.time]
        ratings = ratings.take(np.lexsort((time, user)))
        rows = catalogue.rows(ratings[schema.item].tolist())
        if len(rows) < len(ratings):
            raise UsageError(
                f"{len(ratings) - len(rows):,} ratings are of items that are "
                "not in the catalogue"
            )
        history = {
            "user": ratings[schema.user],
            "time": ratings[schema.time],
            "row": rows,
            "rating": ratings[ratings.target].astype(np.float32),
        }
        ids = np.unique(history["user"])
        last = np.searchsorted(history["user"], ids, side="right") - 1
        names = dict.fromkeys((schema.user, schema.time, *columns))
        kept = {name: ratings[name][last] for name in names}
        kept[schema.time] = kept[schema.time] + 1
        return cls(
            Table(ratings.name, kept, schema.user),
            Table(ratings.name, history, "rating"),
        )

    def source(self, request: Request) -> str:
        """Tells on what the answer to a request can rest.

        Returns:
            `"user"`, `"features"` or `"popularity"`.

        Raises:
            UnknownUserError: if the user is unknown and there are no
                features.
        """
        if request.user in self._places:
            return "user"
        if request.features:
            return "features"
        if request.user is None:
            return "popularity"
        raise UnknownUserError(
            f"there is no user {request.user!r}; give features of the user, "
            "or no user at all for the most popular items"
        )

    def rated(self, request: Request) -> History:
        """Gives what the user of a request has rated; nothing if unknown."""
        place = self._places.get(request.user)
        if place is None:
            return NOTHING
        span = slice(self._starts[place], self._ends[place])
        return History(self.history["row"][span], self.history["rating"][span])

    def check(self, request: Request) -> None:
        """Checks the features of a request.

        Raises:
            UsageError: if a column is unknown or a value is of another type.
        """
        for name, value in request.features.items():
            if name not in self._defaults or name == self.id_column:
                known = [n for n in self._defaults if n != self.id_column]
                raise UsageError(
                    f"users have no feature {name!r}; they have "
                    f"{', '.join(known) or 'none'}"
                )
            kind = self.users[name].dtype.kind
            if not _fits(value, kind):
                wanted = {"U": "a string", "f": "a finite number"}
                raise UsageError(
                    f"{name} must be {wanted.get(kind, 'an integer')}. "
                    f"Received: {value!r}"
                )

    def table(self, requests: Sequence[Request]) -> Table:
        """Gives a row for each request.

        A column comes from the features of the request, else from what is
        known of the user. What neither tells is the median of a number, the
        empty string, or an id that no user has.

        Returns:
            A table with the columns of the users.
        """
        places = [self._places.get(request.user) for request in requests]
        columns = {}
        for name, known in self.users.columns.items():
            values = [
                self._defaults[name] if place is None else known[place]
                for place in places
            ]
            for i, request in enumerate(requests):
                values[i] = request.features.get(name, values[i])
            dtype = np.str_ if known.dtype.kind == "U" else known.dtype
            columns[name] = np.array(values, dtype)
        return Table(self.users.name, columns, self.id_column)


def _default(is_id: bool, column: np.ndarray) -> Any:
    if column.dtype.kind == "U":
        return ""
    if is_id:
        return column.min() - 1
    return np.sort(column)[len(column) // 2]


def _fits(value: Value, kind: str) -> bool:
    if isinstance(value, bool):
        return False
    if kind == "U":
        return isinstance(value, str)
    if kind == "f":
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, int) and abs(value) < 2**62
