"""What a user has chosen before: bags of ids for the user's tower."""

import numpy as np

from keras_multi.errors import DataError
from recsys.bags import PADDING


class Histories:
    """The training interactions of each user in order of time.

    Args:
        users: user of each interaction, shape `(rows,)`.
        times: its time, integers.
        items: row of its item in the corpus.

    Example:
        >>> users, times = np.array([7, 7, 8]), np.array([10, 20, 10])
        >>> histories = Histories(users, times, np.array([4, 5, 6]))
        >>> histories.before(np.array([7, 7]), np.array([20, 21]), 2).tolist()
        [[4, -1], [5, 4]]
    """

    def __init__(
        self, users: np.ndarray, times: np.ndarray, items: np.ndarray
    ) -> None:
        if not len(users):
            raise DataError("there are no interactions to make histories of")
        order = np.lexsort((times, users))
        self.users, self.times = users[order], times[order]
        self.items = items[order].astype(np.int32)

    def before(
        self, users: np.ndarray, times: np.ndarray, length: int
    ) -> np.ndarray:
        """Gives the last items that a user chose strictly before a time.

        What was chosen at the same second is not known yet.

        Args:
            users: shape `(queries,)`.
            times: shape `(queries,)`.
            length: how many items to give.

        Returns:
            Int32 `(queries, length)`, the last one first, padded with -1; a
            user without history has padding only.
        """
        start = np.searchsorted(self.users, users, side="left")
        end = self._place(users, times)
        place = end[:, None] - 1 - np.arange(length)
        inside = place >= start[:, None]
        rows = np.where(inside, place, 0)
        return np.where(inside, self.items[rows], PADDING).astype(np.int32)

    def _place(self, users: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Counts the interactions before (user, time) in lexical order."""
        first = min(self.times.min(), times.min())
        span = max(self.times.max(), times.max()) - first + 1
        known, numbers = np.unique(self.users, return_inverse=True)
        keys = numbers * span + (self.times - first)
        asked = np.searchsorted(known, users)
        unknown = known[np.minimum(asked, len(known) - 1)] != users
        offset = np.where(unknown, 0, times - first)
        return np.searchsorted(keys, asked * span + offset, side="left")
