"""Business rules: which items may be shown, and how many of a kind."""

from typing import Any

import numpy as np

from recsys.items import Items
from recsys.profiles import History
from recsys.request import Request


def allowed(request: Request, catalogue: Items, history: History) -> np.ndarray:
    """Tells which items may be returned.

    Args:
        request: its filters and what it excludes.
        catalogue: the items.
        history: what the user has rated.

    Returns:
        Bool, shape `(items,)`.
    """
    mask = np.ones(len(catalogue), bool)
    if request.exclude_seen:
        mask[history.rows] = False
    mask[catalogue.rows(request.exclude)] = False
    for condition in request.filters:
        mask &= catalogue.mask(condition)
    return mask


def within_caps(
    request: Request, catalogue: Items, rows: np.ndarray
) -> list[int]:
    """Takes the first `k` items, passing over values that are full.

    An item counts for each of its values, so one of "Action|Sci-Fi" is
    passed over if either genre is full.

    Args:
        request: its `k` and `max_per`.
        catalogue: the items.
        rows: rows of the catalogue, the best first.

    Returns:
        Positions in `rows`, rising.
    """
    taken: list[int] = []
    counts: dict[tuple[str, Any], int] = {}
    for position, row in enumerate(rows.tolist()):
        if len(taken) == request.k:
            break
        keys = [
            (column, value)
            for column in request.max_per
            for value in catalogue.parts(column, row)
        ]
        if any(counts.get(key, 0) >= request.max_per[key[0]] for key in keys):
            continue
        taken.append(position)
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
    return taken
