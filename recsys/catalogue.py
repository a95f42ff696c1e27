"""A made-up catalogue of any size, in which there is something to learn."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

FAVOURITES = 3


@dataclass(frozen=True)
class Catalogue:
    """Users who like some topics, and items of which few are popular.

    Item i belongs to topic `i % num_topics` and is the `i // num_topics`-th
    most popular of it: within a topic, popularity falls by Zipf's law with
    `exponent`. Each user has three favourite topics, drawn from `seed`. An
    interaction is a random user, one of the user's favourites (with the
    chance `loyalty`, else any topic), and an item of it by its popularity.

    So a model that learns the favourites finds many of a user's next items,
    while the most popular items of all are a small part of them.

    Nothing but the favourites is kept in memory; interactions are drawn in
    batches, each from its own seed.

    Args:
        num_items: number of items, at least `num_topics`.
        num_users: number of users.
        num_topics: number of topics.
        exponent: exponent of Zipf's law; 0 makes all items equally popular.
        loyalty: share of interactions within the favourites, in [0, 1].
        seed: seed of everything.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> from recsys.catalogue import Catalogue
        >>> catalogue = Catalogue(num_items=5000, num_users=100, num_topics=50)
        >>> users, items = catalogue.interactions(1000, part=0)
        >>> users.shape, items.dtype
        ((1000,), dtype('int32'))
    """

    num_items: int = 1_000_000
    num_users: int = 100_000
    num_topics: int = 1_000
    exponent: float = 1.0
    loyalty: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.num_topics <= self.num_items:
            raise ValueError(
                f"num_topics must lie in [1, {self.num_items}]. "
                f"Received: num_topics={self.num_topics}"
            )
        if self.num_users < 1:
            raise ValueError(
                "num_users must be at least 1. "
                f"Received: num_users={self.num_users}"
            )
        if not 0 <= self.loyalty <= 1:
            raise ValueError(
                f"loyalty must lie in [0, 1]. Received: loyalty={self.loyalty}"
            )
        if self.exponent < 0:
            raise ValueError(
                "exponent must not be negative. "
                f"Received: exponent={self.exponent}"
            )

    @cached_property
    def favourites(self) -> np.ndarray:
        """Topics that each user likes, int32 `(num_users, 3)`."""
        rng = np.random.default_rng(self.seed)
        shape = (self.num_users, FAVOURITES)
        return rng.integers(0, self.num_topics, shape, dtype=np.int32)

    @cached_property
    def popularity(self) -> np.ndarray:
        """Chance of each rank within a topic, falling; the sum is 1."""
        ranks = self.num_items // self.num_topics
        chance = np.arange(1, ranks + 1, dtype=np.float64) ** -self.exponent
        return chance / chance.sum()

    def chance(self, items: np.ndarray) -> np.ndarray:
        """The chance of each item to be that of an interaction.

        It takes all topics to be liked by equally many users.

        Args:
            items: integers of any shape, as `interactions` gives them.

        Returns:
            Floats in float32, of the same shape.
        """
        share = self.popularity[items // self.num_topics] / self.num_topics
        return share.astype(np.float32)

    def interactions(
        self, count: int, part: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws some interactions.

        Args:
            count: how many.
            part: which of them; the same part is always the same, and
                different parts are independent.

        Returns:
            Users and items, int32 `(count,)` each.
        """
        rng = np.random.default_rng([self.seed, part])
        users = rng.integers(0, self.num_users, count, dtype=np.int32)
        choice = rng.integers(0, FAVOURITES, count)
        topics = self.favourites[users, choice]
        strays = rng.random(count) >= self.loyalty
        topics[strays] = rng.integers(0, self.num_topics, strays.sum())
        limits = np.cumsum(self.popularity)
        ranks = np.searchsorted(limits[:-1], rng.random(count), side="right")
        return users, (ranks * self.num_topics + topics).astype(np.int32)

    def batches(
        self, batch_size: int, steps: int, first: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Draws batches one after the other.

        Args:
            batch_size: interactions in each.
            steps: number of batches.
            first: the part that the first batch is.

        Yields:
            Users and items, as `interactions` gives them.
        """
        for step in range(steps):
            yield self.interactions(batch_size, first + step)

    def best(self, users: np.ndarray, k: int) -> np.ndarray:
        """The items that users most likely take next, by the true chances.

        Args:
            users: integers `(B,)`.
            k: number of items.

        Returns:
            Items `(B, k)`. They bound what any model can find.
        """
        ranks = min(k, len(self.popularity))
        items = np.empty((len(users), k), np.int64)
        for row, topics in enumerate(self.favourites[users]):
            liked, times = np.unique(topics, return_counts=True)
            chance = times[:, None] * self.popularity[:ranks]
            order = np.argsort(-chance, axis=None, kind="stable")[:k]
            topic, rank = np.unravel_index(order, chance.shape)
            items[row] = rank * self.num_topics + liked[topic]
        return items
