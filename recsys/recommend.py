"""Recommends items to a user from an artifact."""

import os
from typing import Any

from recsys.request import Request
from recsys.two_stage import TwoStageRecommender


def recommend(
    artifact: str | os.PathLike[str],
    user: int | str | None,
    k: int = 10,
    **conditions: Any,
) -> list[dict[str, Any]]:
    """Recommends items to one user.

    Args:
        artifact: folder of a `TwoStageRecommender`.
        user: id of the user, as a string if need be; `None` for the most
            popular items.
        k: number of items.
        **conditions: further fields of `recsys.request.Request`.

    Returns:
        The items, the best first, each with `item`, `title`, `score`,
        `retrieval_score`, `rank_score` and `reasons` (a list of `kind`,
        `text`, `item`).

    Raises:
        UsageError: if the user is unknown and has no features, or an argument
            is out of range.
        DataError: if the artifact is missing or damaged.
    """
    recommender = TwoStageRecommender.load(artifact)
    profiles = recommender.profiles
    numbers = profiles.users[profiles.id_column].dtype.kind != "U"
    if numbers and isinstance(user, str) and user.isdecimal():
        user = int(user)
    (answer,) = recommender.recommend([Request(user, k=k, **conditions)])
    items: list[dict[str, Any]] = answer.as_dict()["items"]
    return items
