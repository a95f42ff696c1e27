"""What all indexes share: checks, ids, exclusion and files."""

import json
import operator
import os
import zipfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from keras import ops

from keras_multi.errors import DataError, UsageError
from keras_multi.files import prepare_folder, replacing

METRICS = ("dot", "cosine")
FILE = "index.npz"


class Index:
    """Base class of the indexes.

    Args:
        k: number of candidates returned by default.
        metric: `"dot"` or `"cosine"`.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, k: int = 100, metric: str = "dot") -> None:
        if metric not in METRICS:
            raise ValueError(
                f"metric must be one of {', '.join(METRICS)}. "
                f"Received: metric={metric!r}"
            )
        self.k = positive(k, "k")
        self.metric = metric
        self.ids: np.ndarray | None = None
        self.dim = 0

    def __call__(
        self,
        queries: Any,
        k: int | None = None,
        exclude: Sequence[Sequence[Any]] | np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the best candidates of each query.

        Args:
            queries: array or tensor `(B, D)`.
            k: number of candidates; that of the constructor by default.
            exclude: B rows of ids never to return, ragged or padded with -1
                or None. Ids that are not in the index are ignored.

        Returns:
            Scores, float32 `(B, k)`, falling, and ids `(B, k)` as NumPy
            arrays. Where fewer than k remain: score -inf and id -1 (the
            empty string if the ids are strings).

        Raises:
            UsageError: if nothing was indexed yet.
            ValueError: if a shape, k or a value of a query is wrong.
        """
        if self.ids is None:
            raise UsageError("the index is empty; call index() or load() first")
        k = self.k if k is None else positive(k, "k")
        if k > len(self.ids):
            raise ValueError(
                f"k must be at most the {len(self.ids)} candidates of the "
                f"index. Received: k={k}"
            )
        vectors = self._prepare(queries, "queries")
        if vectors.shape[1] != self.dim:
            raise ValueError(
                f"queries must have {self.dim} columns as the candidates do. "
                f"Received: shape={vectors.shape}"
            )
        banned = self._rows(exclude, len(vectors))
        extra = max((len(row) for row in banned), default=0)
        if extra:
            extra = 1 << (extra - 1).bit_length()  # few widths to compile
        scores, rows = self._search(vectors, min(k + extra, len(self.ids)))
        return self._select(scores, rows, banned, k)

    @abstractmethod
    def _search(
        self, queries: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and rows `(B, k)`, falling; row -1 where none was found."""

    def _select(
        self,
        scores: np.ndarray,
        rows: np.ndarray,
        banned: list[np.ndarray],
        k: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        assert self.ids is not None
        kept = rows >= 0
        for i, row in enumerate(banned):
            kept[i] &= ~np.isin(rows[i], row)
        order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(kept, order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        ids = self.ids[np.take_along_axis(rows, order, axis=1)]
        nothing = "" if self.ids.dtype.kind == "U" else -1
        shape = (len(rows), k)
        best = np.full(shape, -np.inf, np.float32)
        names = np.full(shape, nothing, self.ids.dtype)
        best[:, : kept.shape[1]] = np.where(kept, scores, -np.inf)
        names[:, : kept.shape[1]] = np.where(kept, ids, nothing)
        return best, names

    def _prepare(self, vectors: Any, name: str) -> np.ndarray:
        """Gives finite float32 `(n, d)`, of length 1 under cosine."""
        if not isinstance(vectors, np.ndarray | list | tuple):
            vectors = ops.convert_to_numpy(ops.cast(vectors, "float32"))
        x = np.asarray(vectors, np.float32)
        if x.ndim != 2 or x.shape[1] == 0:
            raise ValueError(
                f"{name} must be a matrix. Received: shape={x.shape}"
            )
        if not np.isfinite(x).all():
            raise ValueError(f"{name} must be finite. Received: NaN or inf")
        if self.metric == "cosine":
            length = np.linalg.norm(x, axis=1, keepdims=True)
            x = (x / np.where(length == 0, 1, length)).astype(np.float32)
        return x

    def _set_ids(self, ids: Any, count: int) -> None:
        if count == 0:
            raise ValueError("candidates must not be empty. Received: 0 rows")
        names = np.arange(count) if ids is None else np.asarray(ids)
        if names.shape != (count,) or names.dtype.kind not in "iuU":
            raise ValueError(
                f"ids must be {count} integers or strings. Received: "
                f"shape={names.shape}, dtype={names.dtype}"
            )
        if names.dtype.kind != "U":
            names = names.astype(np.int64)
            if names.min() < 0:
                raise ValueError(
                    f"ids must not be negative. Received: {names.min()}"
                )
        elif (names == "").any():
            raise ValueError("ids must not be empty. Received: ''")
        self._order = np.argsort(names, kind="stable")
        self._sorted = names[self._order]
        twice = self._sorted[1:][self._sorted[1:] == self._sorted[:-1]]
        if len(twice):
            raise ValueError(f"ids must be unique. Received twice: {twice[0]}")
        self.ids = names

    def _rows(self, exclude: Any, batch: int) -> list[np.ndarray]:
        """The rows of the ids to exclude, for each query."""
        if exclude is None:
            return []
        if len(exclude) != batch:
            raise ValueError(
                f"exclude must have a row for each of the {batch} queries. "
                f"Received: {len(exclude)} rows"
            )
        text = self._sorted.dtype.kind == "U"
        wanted_type = str if text else int | np.integer
        found = []
        for row in exclude:
            ids = [i for i in row if i is not None]
            if not all(isinstance(i, wanted_type) for i in ids):
                raise ValueError(
                    "exclude must hold ids of the type of the index, "
                    f"{'strings' if text else 'integers'}. Received: {row}"
                )
            wanted = np.asarray(ids, None if text else np.int64)
            if not ids:
                found.append(np.empty(0, np.int64))
                continue
            place = np.searchsorted(self._sorted, wanted)
            place = np.minimum(place, len(self._sorted) - 1)
            known = self._sorted[place] == wanted
            found.append(np.unique(self._order[place[known]]))
        return found

    def _write(
        self, folder: str | os.PathLike[str], **arrays: np.ndarray
    ) -> None:
        if self.ids is None:
            raise UsageError("the index is empty; call index() before save()")
        about = {
            "class": type(self).__name__,
            "k": self.k,
            "metric": self.metric,
            "dim": self.dim,
            **self._settings(),
        }
        path = prepare_folder(folder) / FILE
        with replacing(path) as temporary:
            np.savez(
                temporary,
                about=np.array(json.dumps(about)),
                ids=self.ids,
                **arrays,  # type: ignore[arg-type]
            )

    def _settings(self) -> dict[str, Any]:
        """Further arguments of the constructor."""
        return {}

    @classmethod
    def _read(
        cls, folder: str | os.PathLike[str]
    ) -> tuple[Self, dict[str, np.ndarray]]:
        path = Path(folder) / FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(str(arrays.pop("about")))
            kind, dim = about.pop("class"), about.pop("dim")
            ids = arrays.pop("ids")
            if kind == cls.__name__:
                index = cls(**about)
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            zipfile.BadZipFile,
        ) as error:
            raise DataError(
                f"cannot read {path}: it is missing or damaged; save the "
                "index again"
            ) from error
        if kind != cls.__name__:
            raise DataError(f"{path} holds a {kind}; load it with {kind}.load")
        index.dim = dim
        index._set_ids(ids, len(ids))
        return index, arrays


def positive(value: Any, name: str) -> int:
    """Checks that a number is an integer of at least 1."""
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(
            f"{name} must be an integer of at least 1. "
            f"Received: {name}={value!r}"
        )
    return number
