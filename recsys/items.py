"""The items that can be recommended, and conditions on their columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from keras_multi.data import Table
from keras_multi.errors import UsageError

SEPARATOR = "|"

# For pydantic, which reads requests from JSON: a mistyped name is an error.
STRICT: dict[str, Any] = {"extra": "forbid"}

Value = int | float | str


@dataclass(frozen=True)
class Schema:
    """Names of the columns that a recommender must know.

    Attributes:
        user: id of the user.
        item: id of the item.
        time: when something was rated, integers.
        title: what to call an item.
        tags: words about an item, joined by `"|"`; its genres.
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    title: str = "movie_title"
    tags: str = "genres"


@dataclass(frozen=True)
class Filter:
    """A condition on one column of the catalogue; all that is given must hold.

    A column of strings is compared by its parts: "Action|Sci-Fi" is any of
    `("Action",)`.

    Attributes:
        column: name of the column.
        any_of: values of which an item must have one; empty for no condition.
        none_of: values of which an item must have none.
        at_least: least value of a column of numbers.
        at_most: greatest value of a column of numbers.

    Example:
        >>> Filter("release_year", at_least=1990).describe()
        'release_year at least 1990'
    """

    __pydantic_config__ = STRICT

    column: str
    any_of: tuple[Value, ...] = ()
    none_of: tuple[Value, ...] = ()
    at_least: float | None = None
    at_most: float | None = None

    def describe(self) -> str:
        """Says the condition in words."""
        parts = [
            f"{words} {', '.join(map(str, value))}"
            for words, value in (
                ("any of", self.any_of),
                ("none of", self.none_of),
            )
            if value
        ]
        parts += [
            f"{words} {value:g}"
            for words, value in (
                ("at least", self.at_least),
                ("at most", self.at_most),
            )
            if value is not None
        ]
        return f"{self.column} {' and '.join(parts)}"


class Items:
    """Items by row.

    Args:
        table: one row an item, with the columns that `schema` names.
        schema: names of the columns.

    Raises:
        UsageError: if a column is missing or an item comes twice.

    Example:
        >>> columns = {"item_id": np.array([7, 9]),
        ...            "movie_title": np.array(["A", "B"]),
        ...            "genres": np.array(["War", "War|Drama"])}
        >>> catalogue = Items(Table("tiny", columns, "item_id"))
        >>> catalogue.mask(Filter("genres", any_of=("Drama",))).tolist()
        [False, True]
    """

    def __init__(self, table: Table, schema: Schema | None = None) -> None:
        self.table = table
        self.schema = schema or Schema()
        self.ids = table[self.schema.item]
        self.titles = table[self.schema.title]
        self._rows = {id_: row for row, id_ in enumerate(self.ids.tolist())}
        if len(self._rows) < len(table):
            raise UsageError(
                f"each item must have one row in {table.name!r}. Received: "
                f"{len(table)} rows for {len(self._rows)} items"
            )
        self._found: dict[str, dict[str, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, ids: Iterable[Value]) -> np.ndarray:
        """Finds the rows of items; unknown ids are left out."""
        found = [self._rows[i] for i in ids if i in self._rows]
        return np.array(found, np.int64)

    @cached_property
    def tag_names(self) -> np.ndarray:
        """The tags that items have, sorted; unicode, shape `(tags,)`."""
        return np.array(sorted(self._masks(self.schema.tags)), np.str_)

    @cached_property
    def tags(self) -> np.ndarray:
        """Which item has which tag: 0 or 1, uint8, shape `(items, tags)`."""
        masks = self._masks(self.schema.tags)
        tags = np.zeros((len(self), len(masks)), np.uint8)
        for i, name in enumerate(self.tag_names.tolist()):
            tags[:, i] = masks[name]
        return tags

    def mask(self, condition: Filter) -> np.ndarray:
        """Tells which items meet a condition: bool, shape `(items,)`.

        Raises:
            UsageError: if the column does not exist, or its values are of
                another type than those of the condition.
        """
        column = self.table[condition.column]
        text = column.dtype.kind == "U"
        bounds = (condition.at_least, condition.at_most)
        values = (*condition.any_of, *condition.none_of)
        if text and any(bound is not None for bound in bounds):
            raise UsageError(
                f"{condition.column!r} holds strings, which have no bounds. "
                f"Received: {condition.describe()}"
            )
        if any(isinstance(value, str) != text for value in values):
            raise UsageError(
                f"{condition.column!r} holds {'strings' if text else 'numbers'}"
                f". Received: {condition.describe()}"
            )
        kept = np.ones(len(self), bool)
        if condition.any_of:
            kept &= self._has_one(condition.column, condition.any_of)
        if condition.none_of:
            kept &= ~self._has_one(condition.column, condition.none_of)
        if condition.at_least is not None:
            kept &= column >= condition.at_least
        if condition.at_most is not None:
            kept &= column <= condition.at_most
        return kept

    def _has_one(self, name: str, values: tuple[Value, ...]) -> np.ndarray:
        column = self.table[name]
        if column.dtype.kind != "U":
            return np.isin(column, np.array(values))
        masks, nothing = self._masks(name), np.zeros(len(self), bool)
        return np.any([masks.get(str(v), nothing) for v in values], axis=0)

    def _masks(self, name: str) -> dict[str, np.ndarray]:
        """For each part of the strings of a column, which items have it."""
        if name not in self._found:
            masks: dict[str, np.ndarray] = {}
            for row, text in enumerate(self.table[name].tolist()):
                for part in _parts(text):
                    mask = masks.setdefault(part, np.zeros(len(self), bool))
                    mask[row] = True
            self._found[name] = masks
        return self._found[name]

    def parts(self, name: str, row: int) -> frozenset[Value]:
        """Gives the values of one item in a column, strings in parts."""
        value = self.table[name][row].item()
        return _parts(value) if isinstance(value, str) else frozenset([value])


def _parts(text: str) -> frozenset[str]:
    return frozenset(part for part in text.split(SEPARATOR) if part)
