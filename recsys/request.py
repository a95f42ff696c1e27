"""What is asked of a recommender and what it answers."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_multi.errors import UsageError
from recsys.items import STRICT, Filter, Value


class UnknownUserError(UsageError):
    """There is no user of this id, and no features stand in for one."""


@dataclass(frozen=True)
class Boost:
    """A number added to the score of the items that meet a condition.

    Attributes:
        condition: which items.
        add: what to add to the score of the ranker, in its unit.

    Raises:
        UsageError: if `add` is not a number below 1e9 in size.
    """

    __pydantic_config__ = STRICT

    condition: Filter
    add: float

    def __post_init__(self) -> None:
        if not abs(self.add) < 1e9:
            raise UsageError(
                f"add must be less than 1e9 in size. Received: add={self.add}"
            )


@dataclass(frozen=True)
class Request:
    """What is asked for one user.

    Attributes:
        user: id of the user; `None` for a visitor.
        features: columns of the user, such as `{"age": 24}`. They take the
            place of what is known. A visitor without any gets the most
            popular items.
        k: number of items.
        exclude_seen: whether to leave out what the user has rated.
        exclude: ids of further items to leave out.
        filters: conditions that each item must meet.
        boosts: conditions that raise or lower the score of an item.
        max_per: by column, how many items may have the same value; an item
            that has a value too many is passed over.

    Raises:
        UsageError: if `k` or a number of `max_per` is less than 1.
    """

    __pydantic_config__ = STRICT

    user: int | str | None = None
    features: Mapping[str, Value] = field(default_factory=dict)
    k: int = 10
    exclude_seen: bool = True
    exclude: tuple[Value, ...] = ()
    filters: tuple[Filter, ...] = ()
    boosts: tuple[Boost, ...] = ()
    max_per: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k must be at least 1. Received: k={self.k}")
        if any(count < 1 for count in self.max_per.values()):
            raise UsageError(
                "max_per must hold numbers of at least 1. "
                f"Received: max_per={dict(self.max_per)}"
            )


@dataclass(frozen=True)
class Reason:
    """Why an item is recommended.

    Attributes:
        kind: `"near"` (its vector is close to that of an item that the user
            liked), `"tags"` (it shares tags with one), `"features"`,
            `"popularity"` or `"boost"`.
        text: the reason in words.
        item: id of the liked item, if there is one.
    """

    kind: str
    text: str
    item: int | str | None = None


@dataclass(frozen=True)
class Recommendation:
    """A recommended item.

    Attributes:
        item: its id.
        title: its title.
        score: what the list is ordered by: `rank_score` plus boosts, or for
            the most popular items the number of ratings plus boosts.
        retrieval_score: product of the vectors of user and item; `None` for
            the most popular items.
        rank_score: what the ranker predicts; `None` likewise.
        reasons: why, the strongest first.
    """

    item: int | str
    title: str
    score: float
    retrieval_score: float | None
    rank_score: float | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    Attributes:
        version: version of the artifact that answered.
        source: `"user"` (a known user), `"features"` (an unknown one with
            features) or `"popularity"`.
        items: at most `k`, the best first; fewer if the conditions leave
            fewer.
    """

    version: str
    source: str
    items: tuple[Recommendation, ...]

    def as_dict(self) -> dict[str, Any]:
        """Gives the answer as plain dictionaries and lists."""
        return dataclasses.asdict(self)
