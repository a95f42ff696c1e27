"""Content filtering: items like those that a user has, by their features."""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import sparse

from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from keras_multi.files import prepare_folder, replacing
from recsys.indexes.base import Index, positive
from recsys.indexes.brute_force import BruteForceIndex
from recsys.indexes.sparse import SparseIndex, unit_rows
from recsys.item_features import sparse_rows, table_features

SCORES = ("dot", "cosine", "tfidf")
FILE = "content.npz"

Ids = Sequence[Any] | np.ndarray


class ContentFilter:
    """Ranks items by how far their features agree with those of a user.

    The profile of a user is the weighted sum of the features of the items
    that the user has, and of stated preferences. An item without any history
    is ranked like all others, since its features are all that counts (Pazzani
    and Billsus 2007, "Content-based recommendation systems", section 10.2).

    Args:
        score: `"dot"`, the product of profile and item; `"cosine"`, their
            cosine; or `"tfidf"`, their cosine after a feature f of n items
            is multiplied by `ln((1 + N) / (1 + n)) + 1`, so that rare ones
            count more, and each item is brought to length 1 (Salton and
            Buckley 1988, "Term-weighting approaches in automatic text
            retrieval").
        k: number of items recommended by default.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from recsys import ContentFilter
        >>> apps = ["steps", "sleep", "chess", "pulse"]
        >>> features = np.array([[1, 0], [1, 0], [0, 1], [1, 0]])
        >>> content = ContentFilter(k=2).fit(features, apps, ["health", "game"])
        >>> scores, ids = content.recommend([["steps"]])
        >>> ids.tolist()
        [['sleep', 'pulse']]
        >>> content.explain("pulse", ["steps"])
        {'health': 1.0}
    """

    def __init__(self, score: str = "cosine", k: int = 10) -> None:
        if score not in SCORES:
            raise ValueError(
                f"score must be one of {', '.join(SCORES)}. "
                f"Received: score={score!r}"
            )
        self.score = score
        self.k = positive(k, "k")
        self.names: tuple[str, ...] = ()

    def fit(
        self,
        features: Any,
        ids: Any = None,
        names: Sequence[str] | None = None,
        popularity: Any = None,
    ) -> Self:
        """Takes the items, in place of any before.

        Args:
            features: `(N, F)`, an array or a SciPy sparse matrix; 0 where an
                item lacks a feature. A sparse one is never made full.
            ids: N unique integers from 0 or strings; row numbers by default.
            names: F unique names of the features; their numbers by default.
            popularity: N numbers from 0, such as counts, that rank the items
                for a user of whom nothing is known.

        Returns:
            The filter itself.

        Raises:
            ValueError: if a shape, a value, an id or a name is wrong.
        """
        full = not sparse.issparse(features)
        rows = np.asarray(features) if full else features
        if rows.ndim != 2 or 0 in rows.shape or rows.dtype.kind not in "biuf":
            raise ValueError(
                "features must be a matrix of numbers. Received: "
                f"shape={rows.shape}, dtype={rows.dtype}"
            )
        matrix = sparse.csr_array(rows, dtype=np.float64)
        if not np.isfinite(matrix.data).all():
            raise ValueError("features must be finite. Received: NaN or inf")
        count, width = matrix.shape
        names = tuple(map(str, range(width) if names is None else names))
        if len(names) != width or len(set(names)) < width:
            raise ValueError(
                f"names must be {width} different strings. Received: "
                f"{len(names)}, {len(set(names))} of them different"
            )
        if popularity is not None:
            popularity = np.asarray(popularity, np.float32)
            if popularity.shape != (count,) or not np.all(popularity >= 0):
                raise ValueError(
                    f"popularity must be {count} numbers from 0. "
                    f"Received: shape={popularity.shape}"
                )
        carriers = np.bincount(matrix.nonzero()[1], minlength=width)
        self._idf = np.log((1 + count) / (1 + carriers)) + 1
        vectors = self._weigh(matrix)
        metric = "dot" if self.score == "dot" else "cosine"
        index = BruteForceIndex if full else SparseIndex
        self._index: Index = index(self.k, metric)
        self._index.index(vectors.toarray() if full else vectors, ids)
        assert self._index.ids is not None
        self.ids = self._index.ids
        self.names = names
        self._full, self._features, self._vectors = full, matrix, vectors
        self._popularity = popularity
        self._popular = None
        if popularity is not None:
            self._popular = BruteForceIndex(self.k).index(
                popularity[:, None], self.ids
            )
        self._rows = {id: row for row, id in enumerate(self.ids.tolist())}
        self._columns = {name: i for i, name in enumerate(names)}
        return self

    def fit_table(
        self,
        table: Table,
        item: str,
        columns: Sequence[str],
        separator: str = "|",
        popularity: bool = False,
    ) -> Self:
        """Takes the items of a table, each with the features of its first row.

        Args:
            table: a catalogue, or interactions that name their items.
            item: the column of ids.
            columns: the columns of features, see `table_features`.
            separator: what separates the features in a string.
            popularity: whether the number of rows of an item ranks it for a
                user of whom nothing is known.

        Returns:
            The filter itself; its `ids` ascend.

        Raises:
            UsageError: if there is no such column.
            ValueError: if the ids or the features cannot serve.
        """
        ids, first, counts = np.unique(
            table[item], return_index=True, return_counts=True
        )
        features, names = table_features(table.take(first), columns, separator)
        return self.fit(features, ids, names, counts if popularity else None)

    def profiles(
        self,
        histories: Sequence[Ids],
        weights: Sequence[Ids] | None = None,
        preferences: Sequence[Mapping[str, float] | None] | None = None,
    ) -> np.ndarray:
        """Sums up what the users have and prefer.

        Args:
            histories: for each of B users the ids of the items they have.
            weights: for each user one number per item, such as a rating from
                which the mean is taken; 1 by default.
            preferences: for each user names of features and their weights,
                or `None`. They count as one more item would.

        Returns:
            Float32 `(B, F)`.

        Raises:
            UsageError: if nothing was fitted, or an item or a feature is
                unknown.
            ValueError: if the lengths differ or a weight is not finite.
        """
        self._check_fitted()
        sizes = [len(history) for history in histories]
        items = [self._row(id) for history in histories for id in history]
        if weights is None:
            values = np.ones(len(items))
        else:
            if [len(row) for row in weights] != sizes:
                raise ValueError(
                    f"weights must be {sum(sizes)} numbers, one for each item. "
                    f"Received: {sum(map(len, weights))}"
                )
            values = np.array([x for row in weights for x in row], np.float64)
        shape = (len(sizes), len(self.ids))
        profiles = (
            sparse_rows(sizes, items, values, shape) @ self._vectors
        ).toarray()
        if preferences is not None:
            if len(preferences) != len(sizes):
                raise ValueError(
                    f"preferences must be those of {len(sizes)} users. "
                    f"Received: {len(preferences)}"
                )
            profiles += self._weigh(self._stated(preferences)).toarray()
        if not np.isfinite(profiles).all():
            raise ValueError("weights must be finite. Received: NaN or inf")
        return profiles.astype(np.float32)

    def recommend(
        self,
        histories: Sequence[Ids],
        k: int | None = None,
        weights: Sequence[Ids] | None = None,
        preferences: Sequence[Mapping[str, float] | None] | None = None,
        exclude: Ids = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the best items that the users do not have yet.

        A user whose profile is zero (no items, or none with features, and no
        preferences) gets the most popular items.

        Args:
            histories: for each of B users the ids of the items they have.
            k: number of items; that of the constructor by default.
            weights: as in `profiles`.
            preferences: as in `profiles`.
            exclude: ids that no user is to get.

        Returns:
            Scores, float32 `(B, k)`, falling, and ids `(B, k)`. Where fewer
            than k remain: score -inf and id -1 (the empty string if the ids
            are strings).

        Raises:
            UsageError: as `profiles`; also if a profile is zero and the
                filter was fitted without popularity.
            ValueError: as `profiles`, or if k is out of range.
        """
        profiles = self.profiles(histories, weights, preferences)
        unknown = ~profiles.any(axis=1)
        if unknown.any() and self._popular is None:
            raise UsageError(
                f"nothing is known of user {int(np.argmax(unknown))}: give "
                "items with features or preferences, or fit with popularity"
            )
        banned = [[*history, *exclude] for history in histories]
        k = self.k if k is None else k
        scores, ids = self._index(profiles, k, banned)
        if self._popular is not None and unknown.any():
            users = np.flatnonzero(unknown)
            scores[users], ids[users] = self._popular(
                np.ones((len(users), 1)), k, [banned[user] for user in users]
            )
        return scores, ids

    def explain(
        self,
        item: Any,
        history: Ids = (),
        weights: Ids | None = None,
        preferences: Mapping[str, float] | None = None,
    ) -> dict[str, float]:
        """Splits the score of an item for a user by features.

        Args:
            item: id of the item.
            history: ids of the items that the user has.
            weights: one number per item of the history; 1 by default.
            preferences: names of features and their weights.

        Returns:
            Feature name to contribution, the strongest first, features that
            contribute nothing left out. They sum to the score.

        Raises:
            UsageError: if nothing was fitted, or an item or a feature is
                unknown.
            ValueError: if the lengths differ or a weight is not finite.
        """
        (profile,) = self.profiles(
            [history], None if weights is None else [weights], [preferences]
        )
        vector = self._vectors[[self._row(item)]].toarray()[0]
        parts = profile * vector
        if self.score != "dot" and parts.any():
            parts /= np.linalg.norm(profile) * np.linalg.norm(vector)
        order = np.argsort(-np.abs(parts), kind="stable")
        return {self.names[i]: float(parts[i]) for i in order if parts[i]}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes items, features and settings to `content.npz`.

        Raises:
            UsageError: if nothing was fitted.
            KerasMultiError: if the file cannot be written.
        """
        self._check_fitted()
        about = {
            "score": self.score,
            "k": self.k,
            "full": self._full,
            "names": self.names,
        }
        arrays = {
            name: getattr(self._features, name)
            for name in ("data", "indices", "indptr")
        }
        if self._popularity is not None:
            arrays["popularity"] = self._popularity
        with replacing(prepare_folder(folder) / FILE) as temporary:
            np.savez(
                temporary,
                about=np.array(json.dumps(about)),
                ids=self.ids,
                **arrays,
            )

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote, on any backend.

        Raises:
            DataError: if the file is missing or damaged.
        """
        path = Path(folder) / FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays["about"]))
            ids, names = arrays["ids"], about["names"]
            matrix = sparse.csr_array(
                (arrays["data"], arrays["indices"], arrays["indptr"]),
                shape=(len(ids), len(names)),
            )
            matrix.check_format(full_check=True)
            features = matrix.toarray() if about["full"] else matrix
            content = cls(about["score"], about["k"])
            return content.fit(features, ids, names, arrays.get("popularity"))
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            TypeError,
            zipfile.BadZipFile,
        ) as error:
            raise DataError(
                f"cannot read {path}: it is missing or damaged; save the "
                "filter again"
            ) from error

    def _weigh(self, features: sparse.csr_array) -> sparse.csr_array:
        if self.score != "tfidf":
            return features
        return unit_rows(sparse.csr_array(features.multiply(self._idf[None])))

    def _stated(
        self, preferences: Sequence[Mapping[str, float] | None]
    ) -> sparse.csr_array:
        """Preferences as features, one row a user."""
        stated = [wanted or {} for wanted in preferences]
        unknown = {name for row in stated for name in row} - set(self._columns)
        if unknown:
            raise UsageError(
                f"there is no feature {min(unknown)!r}; there are "
                f"{', '.join(self.names[:20])}"
            )
        sizes = [len(row) for row in stated]
        columns = [self._columns[name] for row in stated for name in row]
        values = [value for row in stated for value in row.values()]
        shape = (len(stated), len(self.names))
        return sparse_rows(sizes, columns, np.array(values, np.float64), shape)

    def _row(self, id: Any) -> int:
        if id not in self._rows:
            raise UsageError(f"there is no item {id!r}")
        return self._rows[id]

    def _check_fitted(self) -> None:
        if not self.names:
            raise UsageError("the filter is empty; call fit() or load() first")
