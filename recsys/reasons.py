"""Why an item is recommended: what the user liked that is like it."""

from collections.abc import Sequence

import numpy as np

from recsys.items import Items
from recsys.profiles import History
from recsys.request import Boost, Reason, Request


class Liked:
    """What a user rated at least as high as on average.

    Args:
        history: what the user has rated.
        catalogue: the items.
        directions: the vectors of all items, of length 1, `(items, D)`.
    """

    def __init__(
        self, history: History, catalogue: Items, directions: np.ndarray
    ) -> None:
        self.catalogue, self.directions = catalogue, directions
        good = np.empty(0, bool)
        if len(history.rows):
            good = history.ratings >= history.ratings.mean()
        self.rows = history.rows[good]
        self.ratings = history.ratings[good]

    def reasons(self, items: np.ndarray) -> list[list[Reason]]:
        """Gives the nearest liked item, and the one sharing most tags.

        Between items that share as many tags, the higher rating decides and
        then the nearness.

        Args:
            items: rows of the catalogue, shape `(n,)`.

        Returns:
            For each item no reason, one or two.
        """
        if not len(self.rows):
            return [[] for _ in items]
        tags = self.catalogue.tags
        same = self.rows[:, None] == items
        near = self.directions[self.rows] @ self.directions[items].T
        near = np.where(same, -np.inf, near)  # (liked, items)
        shared = np.where(same, 0, tags[self.rows] @ tags[items].T)
        ratings = np.broadcast_to(self.ratings[:, None], near.shape)
        nearest = near.argmax(axis=0)
        most = np.lexsort((near, ratings, shared), axis=0)[-1]
        found: list[list[Reason]] = [[] for _ in items]
        for i, row in enumerate(items):
            if near[nearest[i], i] > -np.inf:
                found[i].append(self._reason("near", "close to", nearest[i]))
            if shared[most[i], i]:
                both = tags[self.rows[most[i]]] & tags[row]
                words = ", ".join(self.catalogue.tag_names[both > 0])
                found[i].append(
                    self._reason("tags", f"shares {words} with", most[i])
                )
        return found

    def _reason(self, kind: str, words: str, liked: int) -> Reason:
        row, rating = self.rows[liked], self.ratings[liked]
        title = self.catalogue.titles[row]
        return Reason(
            kind,
            f"{words} {title}, which you rated {rating:g}",
            self.catalogue.ids[row].item(),
        )


def explain(
    request: Request,
    source: str,
    items: np.ndarray,
    liked: Liked,
    popularity: np.ndarray,
    boosted: Sequence[tuple[Boost, np.ndarray]],
) -> list[tuple[Reason, ...]]:
    """Gives the reasons for each item of an answer.

    Args:
        request: what was asked.
        source: what the answer rests on.
        items: rows of the catalogue, shape `(n,)`.
        liked: what the user liked.
        popularity: number of ratings of each item of the catalogue.
        boosted: the boosts of the request with the items they raise.

    Returns:
        At least one reason for each.
    """
    found = liked.reasons(items)
    for reasons, row in zip(found, items, strict=True):
        if source == "features":
            given = ", ".join(f"{k} {v}" for k, v in request.features.items())
            reasons.append(Reason("features", f"chosen for {given}"))
        for boost, mask in boosted:
            if mask[row] and boost.add:
                word = "raised" if boost.add > 0 else "lowered"
                text = f"{word}: {boost.condition.describe()}"
                reasons.append(Reason("boost", text))
        if source == "popularity" or not reasons:
            text = f"rated by {int(popularity[row]):,} users"
            reasons.append(Reason("popularity", text))
    return [tuple(reasons) for reasons in found]
