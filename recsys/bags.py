"""Features of many values: each turns one column of text into bags of ids.

A bag is a row of category numbers padded with -1, for
`keras_multi.layers.EmbeddingBag`. Like all features these are fitted on the
training rows, and `fit` gives a new one.
"""

import dataclasses
import re
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import Self

import numpy as np

from keras_multi.errors import DataError, UsageError
from recsys.columns import UNKNOWN, fitted

PADDING = -1
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class _Bag:
    """What bags share; a kind of bag says what its tokens are.

    Attributes:
        column: name of the column of strings.
        min_count: training rows that must hold a token to make it a category.
        length: tokens kept of a row, the first ones; set by `fit` to the most
            that a training row has, unless given.
        values: the sorted tokens of categories 1 and up; set by `fit`.
    """

    column: str
    min_count: int = 1
    length: int | None = None
    values: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("min_count", "length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(
                    f"{name} must be at least 1. Received: {name}={value}"
                )

    @abstractmethod
    def tokens(self, text: str) -> list[str]:
        """Takes a text apart; each token comes once."""

    @property
    def size(self) -> int:
        """Number of categories, the unknown one included."""
        return len(fitted(self, self.values)) + 1

    def fit(self, column: np.ndarray) -> Self:
        """Collects the tokens of a column, shape `(rows,)`."""
        texts, counts = np.unique(
            _as_texts(self.column, column), return_counts=True
        )
        rows_of_token: Counter[str] = Counter()
        longest = 1
        for text, count in zip(texts.tolist(), counts.tolist(), strict=True):
            tokens = self.tokens(text)
            longest = max(longest, len(tokens))
            rows_of_token.update(dict.fromkeys(tokens, count))
        values = sorted(
            token
            for token, count in rows_of_token.items()
            if count >= self.min_count
        )
        return dataclasses.replace(
            self, values=tuple(values), length=self.length or longest
        )

    def transform(self, column: np.ndarray) -> np.ndarray:
        """Numbers the tokens: int32, shape `(rows, length)`, padded with -1.

        A token that is no category is category 0, and so is the one token of
        an empty text.
        """
        values = fitted(self, self.values)
        assert self.length is not None
        number = {token: i + 1 for i, token in enumerate(values)}
        texts, place = np.unique(
            _as_texts(self.column, column), return_inverse=True
        )
        bags = np.full((len(texts), self.length), PADDING, np.int32)
        for bag, text in zip(bags, texts.tolist(), strict=True):
            tokens = self.tokens(text)[: self.length]
            ids = [number.get(token, UNKNOWN) for token in tokens]
            bag[: max(len(ids), 1)] = ids or UNKNOWN
        return bags[place]


@dataclass(frozen=True)
class MultiHot(_Bag):
    """Several categories in one string, such as `"Comedy|Romance"`.

    Attributes:
        separator: what stands between them.

    Example:
        >>> genres = MultiHot("genres").fit(np.array(["a|b", "b"]))
        >>> genres.transform(np.array(["b", "b|x|a"])).tolist()
        [[2, -1], [2, 0]]
    """

    separator: str = "|"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.separator:
            raise UsageError("separator must not be empty. Received: ''")

    def tokens(self, text: str) -> list[str]:
        """Takes the parts between separators, without blanks around them."""
        parts = (part.strip() for part in text.split(self.separator))
        return list(dict.fromkeys(part for part in parts if part))


@dataclass(frozen=True)
class Text(_Bag):
    """The words of a text in lower case, each once, in no order.

    Example:
        >>> title = Text("title").fit(np.array(["The Man", "The Thin Man"]))
        >>> title.transform(np.array(["thin MEN!"])).tolist()
        [[2, 0, -1]]
    """

    def tokens(self, text: str) -> list[str]:
        """Takes runs of letters, digits and underscores as words."""
        return list(dict.fromkeys(WORD.findall(text.lower())))


def _as_texts(name: str, column: np.ndarray) -> np.ndarray:
    if column.dtype.kind != "U":
        raise DataError(
            f"column {name!r} must hold strings. Received: dtype={column.dtype}"
        )
    return column
