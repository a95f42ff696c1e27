"""From a table of ratings to the inputs of a factor model."""

import os
import zipfile
from pathlib import Path
from typing import Any, Self

import numpy as np

from keras_multi.data import Table
from keras_multi.errors import DataError
from keras_multi.files import replacing
from recsys.bags import MultiHot
from recsys.columns import Buckets, Vocabulary
from recsys.features import Features
from recsys.rating.nearby import SCALES, nearby

# Ratings of the mean that are added to the mean of each user and item.
PRIOR_RATINGS = 5
PERIODS = 8
SECONDS_PER_DAY = 86_400

USER_SIDE = Features(
    [
        Vocabulary("gender"),
        Vocabulary("occupation"),
        Buckets("age", boundaries=(18, 25, 30, 35, 45, 50, 56)),
    ]
)
ITEM_SIDE = Features(
    [
        Buckets("release_year", boundaries=tuple(range(1925, 2001, 5))),
        MultiHot("genres"),
    ]
)


class RatingInputs:
    """Makes the inputs of a `recsys.FactorNetwork`.

    All that is learned is learned from the training rows. Of other rows the
    rating is never read.

    Args:
        train: the training rows, with `user_id`, `item_id` and the rating as
            target; with `side` also `gender`, `occupation`, `age`,
            `release_year` and `genres`, with `time` also `timestamp`.
        side: whether to make the features of users and items.
        time: whether to make periods, and what the user rated nearby in time.

    Attributes:
        mean: mean rating.
        lowest: lowest rating.
        highest: highest rating.
        user_values: for each training row the rating as a distance from the
            (shrunken) mean of the item: what it says of the user.
        item_values: the distance from the mean of the user: what it says of
            the item.

    Raises:
        DataError: if a column is missing or not of the right kind, a rating
            is not finite, or a user has rated an item twice.
    """

    def __init__(self, train: Table, side: bool, time: bool) -> None:
        self.train, self.side, self.time = train, side, time
        self._pairs = Features([Vocabulary("user_id"), Vocabulary("item_id")])
        self._pairs = self._pairs.fit(train)
        users, items = self._pairs.transform(train)["categorical"].T
        _check_unique(train, users, items)
        ratings = _finite(train, train.target)
        self.mean = float(ratings.mean())
        self.lowest, self.highest = float(ratings.min()), float(ratings.max())
        above = ratings - self.mean
        self.user_values = above - _shrunken_means(items, above)[items]
        self.item_values = above - _shrunken_means(users, above)[users]
        if side:
            self._user_side = USER_SIDE.fit(train)
            self._item_side = ITEM_SIDE.fit(train)
        if time:
            times = _finite(train, "timestamp")
            self._start, self._end = times.min(), times.max()
            self._days = Vocabulary("user_day").fit(_days(users, times))
            self._known = (users, items, times, self.user_values)

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of `FactorNetwork` that depend on the rows."""
        users, items = self._pairs.vocabulary_sizes
        sizes: dict[str, Any] = {"num_users": users, "num_items": items}
        if self.side:
            sizes["side_sizes"] = (
                _side_size(self._user_side),
                _side_size(self._item_side),
            )
        if self.time:
            sizes["num_periods"] = (self._days.size, 1 + (items - 1) * PERIODS)
            sizes["num_dense"] = 2 * len(SCALES)
        return sizes

    @property
    def pairs(self) -> np.ndarray:
        """Ids of the training rows: int32, shape `(rows, 2)`."""
        return self._pairs.transform(self.train)["categorical"]

    def transform(self, table: Table) -> dict[str, np.ndarray]:
        """Turns rows into inputs.

        Args:
            table: rows with the columns of the training rows; the rating may
                be anything.

        Returns:
            The inputs of `FactorNetwork`: `"pair"`, `"user_side"`,
            `"item_side"`, `"period"`, `"dense"`.

        Raises:
            DataError: if a column is missing or not of the right kind.
        """
        pair = self._pairs.transform(table)["categorical"]
        users, items = pair.T
        inputs = {"pair": pair}
        if self.side:
            inputs["user_side"] = _side_ids(self._user_side, table)
            inputs["item_side"] = _side_ids(self._item_side, table)
        if self.time:
            times = _finite(table, "timestamp")
            days = self._days.transform(_days(users, times))
            inputs["period"] = np.stack(
                [days, self._item_periods(items, times)], axis=1
            )
            inputs["dense"] = nearby(users, items, times, *self._known)
        return inputs

    def _item_periods(self, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        share = (times - self._start) / max(self._end - self._start, 1)
        period = np.clip(share * PERIODS, 0, PERIODS - 1).astype(np.int32)
        return np.where(items == 0, 0, (items - 1) * PERIODS + period + 1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the training rows, on which all else depends, as `.npz`.

        Raises:
            KerasMultiError: if the file cannot be written.
        """
        names = ["user_id", "item_id", self.train.target]
        if self.side:
            names += [f.column for f in (*self._user_side, *self._item_side)]
        if self.time:
            names.append("timestamp")
        with replacing(path) as temporary, open(temporary, "wb") as file:
            columns: dict[str, Any] = {n: self.train[n] for n in names}
            np.savez_compressed(file, **columns)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], target: str, side: bool, time: bool
    ) -> Self:
        """Reads what `save` has written.

        Raises:
            DataError: if the file cannot be read or is not such a file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                columns = {name: file[name] for name in file.files}
            table = Table(Path(path).name, columns, target)
            return cls(table, side, time)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path} does not hold training rows: {error}; train again"
            ) from error


def _check_unique(table: Table, users: np.ndarray, items: np.ndarray) -> None:
    pairs = np.unique(np.stack([users, items]), axis=1).shape[1]
    if pairs < len(table):
        raise DataError(
            f"in {table.name!r} {len(table) - pairs:,} of {len(table):,} rows "
            "repeat a pair of user and item; keep one rating of each"
        )


def _finite(table: Table, column: str) -> np.ndarray:
    values = table[column].astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(
            f"column {column!r} holds NaN or infinity in "
            f"{(~np.isfinite(values)).sum():,} of {len(values):,} rows"
        )
    return values


def _shrunken_means(ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of each id, with some zeros added: Koren 2008, section 2.1."""
    return np.bincount(ids, values) / (np.bincount(ids) + PRIOR_RATINGS)


def _days(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Numbers the days of each user; the same number means the same day."""
    days = (times // SECONDS_PER_DAY).astype(np.int64)
    return users.astype(np.int64) * 2**32 + days


def _side_size(features: Features) -> int:
    return sum(features.vocabulary_sizes) + sum(features.bag_sizes.values())


def _side_ids(features: Features, table: Table) -> np.ndarray:
    """All categories of a row in one bag, those of each feature apart."""
    inputs = features.transform(table)
    parts = [*inputs["categorical"].T[:, :, None]]
    parts += inputs.get("bags", {}).values()
    sizes = [*features.vocabulary_sizes, *features.bag_sizes.values()]
    starts = np.cumsum([0, *sizes[:-1]])
    return np.concatenate(
        [
            np.where(part < 0, -1, part + start)
            for part, start in zip(parts, starts, strict=True)
        ],
        axis=1,
    ).astype(np.int32)
