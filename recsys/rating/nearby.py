"""How a user rated other items at about the same time."""

from collections.abc import Sequence

import numpy as np

# A session, a sitting, half an hour, a day: in seconds.
SCALES = (15.0, 120.0, 1800.0, 86400.0)
# Weight of a rating of 0 that is added to each mean.
PRIOR_WEIGHT = 2.0


def nearby(
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray,
    known_users: np.ndarray,
    known_items: np.ndarray,
    known_times: np.ndarray,
    known_values: np.ndarray,
    scales: Sequence[float] = SCALES,
) -> np.ndarray:
    """Averages what a user gave other items, weighted by nearness in time.

    For each row and scale s, over the known rows of the same user and
    another item, with weights w = exp(-|distance in time| / s): the mean
    `sum(w * value) / (sum(w) + 2)`, shrunk to 0, and `log(1 + sum(w)) / 4`,
    how much there was.

    A row that is itself known does not see its own value. It does see ratings
    made later: this interpolates, it does not forecast.

    Args:
        users: ids, shape `(rows,)`.
        items: ids, shape `(rows,)`.
        times: seconds, shape `(rows,)`.
        known_users: ids of the training rows, shape `(known,)`.
        known_items: ids, shape `(known,)`.
        known_times: seconds, shape `(known,)`.
        known_values: what was rated, shape `(known,)`; for instance the
            distance from the mean of the item.
        scales: lengths in seconds.

    Returns:
        Float32 array `(rows, 2 * len(scales))`, mean and amount of each
        scale in turn.

    Example:
        >>> one = np.array([1])
        >>> nearby(one, one, one, one, np.array([2]), one, np.array([3.0]),
        ...        scales=(10.0,)).round(3).tolist()
        [[1.0, 0.173]]
    """
    features = np.zeros((len(users), 2 * len(scales)), np.float32)
    order = np.argsort(users, kind="stable")
    known_order = np.argsort(known_users, kind="stable")
    sorted_users = users[order]
    sorted_known = known_users[known_order]
    for user in np.unique(users):
        rows = order[_range(sorted_users, user)]
        known = known_order[_range(sorted_known, user)]
        distance = np.abs(
            times[rows][:, None] - known_times[known][None, :]
        ).astype(np.float64)
        other = items[rows][:, None] != known_items[known][None, :]
        for i, scale in enumerate(scales):
            weights = np.exp(-distance / scale) * other
            amount = weights.sum(axis=1)
            mean = weights @ known_values[known] / (amount + PRIOR_WEIGHT)
            features[rows, 2 * i] = mean
            features[rows, 2 * i + 1] = np.log1p(amount) / 4
    return features


def _range(sorted_ids: np.ndarray, wanted: int) -> slice:
    start, stop = np.searchsorted(sorted_ids, [wanted, wanted + 1])
    return slice(start, stop)
