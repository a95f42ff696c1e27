"""What known ratings say about a rating: numbers for a ranker."""

import numpy as np

from keras_multi.data import Table
from recsys.columns import Vocabulary
from recsys.features import Features
from recsys.rating.nearby import SCALES, nearby

# Ratings of the mean that are added to each mean, and what is added to the
# number of ratings in common of two items or users.
PRIOR_RATINGS, PRIOR_COMMON = 5.0, 50.0
NAMES = (
    "item_mean",
    "user_mean",
    "item_count",
    "user_count",
    "alike_items",
    "alike_users",
    "alike_genres",
    *(f"nearby_{i}" for i in range(2 * len(SCALES))),
)


def with_evidence(table: Table, known: Table) -> Table:
    """Adds columns that say what known ratings tell of each row.

    With r - mean - b_i - b_u, what is left of a known rating after the
    (shrunken) means of item and user:

    - `item_mean`, `user_mean`: b_i and b_u; `item_count`, `user_count`: log
      of one plus the number of known ratings;
    - `alike_items`: mean of what is left over the items that the user has
      rated, weighted by their correlation with the row's item (item-based
      neighbours); `alike_users`: the same over the users who rated the item;
    - `alike_genres`: what is left, over the genres of the item;
    - `nearby_*`: what the user gave other items at about the same time (see
      `recsys.rating.nearby`), before or after: this interpolates.

    Args:
        table: rows with `user_id`, `item_id`, `timestamp` and `genres`. Their
            ratings are not read.
        known: known ratings. A row that is among them would see itself: use
            `with_own_evidence` for these.

    Returns:
        The table with the columns `NAMES`.
    """
    ids = Features([Vocabulary("user_id"), Vocabulary("item_id")]).fit(known)
    users, items = ids.transform(known)["categorical"].T
    row_users, row_items = ids.transform(table)["categorical"].T
    num_users, num_items = ids.vocabulary_sizes
    centered = known["rating"].astype(np.float64)
    centered = centered - centered.mean()
    item_mean = _shrunken_means(items, centered, num_items)
    user_mean = _shrunken_means(users, centered - item_mean[items], num_users)
    left = np.zeros((num_users, num_items))
    left[users, items] = centered - item_mean[items] - user_mean[users]
    rated = np.zeros((num_users, num_items))
    rated[users, items] = 1.0
    genres = _genres(items, known["genres"], num_items)
    taste = (left @ genres) / (rated @ genres + PRIOR_RATINGS)
    pair = (row_users, row_items)
    columns = {
        "item_mean": item_mean[row_items],
        "user_mean": user_mean[row_users],
        "item_count": np.log1p(rated.sum(axis=0))[row_items],
        "user_count": np.log1p(rated.sum(axis=1))[row_users],
        "alike_items": _neighbours(left, rated)[pair],
        "alike_users": _neighbours(left.T, rated.T).T[pair],
        "alike_genres": (taste @ genres.T)[pair],
    }
    times = nearby(
        row_users,
        row_items,
        table["timestamp"],
        users,
        items,
        known["timestamp"],
        centered - item_mean[items],
    )
    columns |= {f"nearby_{i}": times[:, i] for i in range(times.shape[1])}
    return Table(table.name, table.columns | columns, table.target)


def with_own_evidence(table: Table, parts: np.ndarray) -> Table:
    """Adds the columns of `with_evidence` to ratings that are known.

    The rows of each part see only the ratings of the other parts, as rows of
    a test see only the training rows.

    Args:
        table: known ratings.
        parts: number of the part of each row, `(rows,)`.
    """
    columns = {name: np.empty(len(table)) for name in NAMES}
    for part in np.unique(parts):
        inside = parts == part
        seen = with_evidence(table.take(inside), table.take(~inside))
        for name, values in columns.items():
            values[inside] = seen[name]
    return Table(table.name, table.columns | columns, table.target)


def parts_of_users(users: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Deals the rows of each user to parts at random, as evenly as possible.

    Args:
        users: user of each row, `(rows,)`.
        count: number of parts.
        seed: seed of the draws.

    Returns:
        Integers in `[0, count)`, `(rows,)`.
    """
    rng = np.random.default_rng(seed)
    _, place, rows = np.unique(users, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(place)), place))
    first = np.repeat(np.cumsum(rows) - rows, rows)
    start = np.repeat(rng.integers(count, size=len(rows)), rows)
    dealt = np.arange(len(place)) - first + start
    parts = np.empty(len(place), np.int64)
    parts[order] = dealt % count
    return parts


def _shrunken_means(
    ids: np.ndarray, values: np.ndarray, size: int
) -> np.ndarray:
    total = np.bincount(ids, values, size)
    return total / (np.bincount(ids, minlength=size) + PRIOR_RATINGS)


def _neighbours(left: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """Predicts what is left of each row and column from the other columns.

    The weight of two columns is the square of their correlation over common
    rows, shrunk by the number of these, with its sign.
    """
    squares = left**2
    lengths = np.sqrt((squares.T @ rated) * (rated.T @ squares))
    common = rated.T @ rated
    alike = (left.T @ left) / np.where(lengths > 0, lengths, 1.0)
    alike = alike * common / (common + PRIOR_COMMON)
    np.fill_diagonal(alike, 0.0)
    weights = alike * np.abs(alike)
    return (left @ weights) / (rated @ np.abs(weights) + 0.5)


def _genres(items: np.ndarray, genres: np.ndarray, size: int) -> np.ndarray:
    """Shares of the genres of each item, `(items, genres)`."""
    values, first = np.unique(items, return_index=True)
    names = sorted({n for text in genres[first] for n in text.split("|")})
    shares = np.zeros((size, len(names)))
    for item, text in zip(values, genres[first], strict=True):
        own = [names.index(name) for name in text.split("|")]
        shares[item, own] = 1 / len(own)
    return shares
