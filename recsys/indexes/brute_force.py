"""The exact index: all scores, then the best of them."""

import os
from typing import Any, Self

import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.errors import DataError
from recsys.indexes.base import Index
from recsys.indexes.topk import split, top_k_of_product

BLOCK = 32
DTYPES = ("float32", "float16", "bfloat16")


class BruteForceIndex(Index):
    """Finds the candidates of highest score, exactly.

    Equal scores come in the order of the candidates. Scores are computed in
    float32 from candidates stored in `dtype`. Queries run in blocks of at
    most 32, padded to a power of two, so that few shapes are compiled.

    Args:
        k: number of candidates returned by default.
        metric: `"dot"` or `"cosine"`.
        dtype: `"float32"`, `"float16"` or `"bfloat16"`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from recsys import BruteForceIndex
        >>> index = BruteForceIndex(k=2).index(np.eye(3), ids=[10, 20, 30])
        >>> scores, ids = index(np.array([[1.0, 3.0, 2.0]]))
        >>> ids.tolist()
        [[20, 30]]
    """

    def __init__(
        self, k: int = 100, metric: str = "dot", dtype: str = "float32"
    ) -> None:
        super().__init__(k, metric)
        if dtype not in DTYPES:
            raise ValueError(
                f"dtype must be one of {', '.join(DTYPES)}. "
                f"Received: dtype={dtype!r}"
            )
        self.dtype = dtype
        self._compiled: dict[int, Any] = {}

    def index(self, candidates: Any, ids: Any = None) -> Self:
        """Takes the candidates, in place of any before.

        Args:
            candidates: array or tensor `(N, D)`.
            ids: N unique integers from 0 or strings; row numbers by default.

        Returns:
            The index itself.

        Raises:
            ValueError: if a shape, a value or an id is wrong.
        """
        vectors = self._prepare(candidates, "candidates")
        self._set_ids(ids, len(vectors))
        self._hold(vectors)
        return self

    def _hold(self, vectors: np.ndarray) -> None:
        self.dim = vectors.shape[1]
        self._parts = [
            ops.cast(ops.convert_to_tensor(part), self.dtype)
            for part in split(vectors)
        ]

    def _search(
        self, queries: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return search(self._compiled, queries, self._parts, k)

    def _settings(self) -> dict[str, Any]:
        return {"dtype": self.dtype}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the candidates, ids and settings to `index.npz`.

        Raises:
            UsageError: if the index is empty.
            KerasMultiError: if the file cannot be written.
        """
        parts = getattr(self, "_parts", ())
        arrays = [
            ops.convert_to_numpy(ops.cast(part, "float32")) for part in parts
        ]
        self._write(
            folder, candidates=np.concatenate(arrays) if arrays else np.empty(0)
        )

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote, on any backend.

        Raises:
            DataError: if the file is missing or damaged.
        """
        index, arrays = cls._read(folder)
        candidates = arrays.get("candidates", np.empty(0))
        assert index.ids is not None
        if candidates.shape != (len(index.ids), index.dim):
            raise DataError(
                f"the index in {folder} is damaged: its candidates do not "
                "match its ids; save it again"
            )
        index._hold(candidates)
        return index


def search(
    compiled: dict[int, Any], queries: np.ndarray, parts: list[Any], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Runs queries in blocks.

    Args:
        compiled: the prepared function by k; filled here.
        queries: float32 `(B, D)`.
        parts: candidates as `split` cuts them.
        k: number of rows to find.

    Returns:
        Scores and rows, both `(B, k)`.
    """
    if k not in compiled:
        compiled[k] = backend.inference(
            lambda q, whole, rest: top_k_of_product(q, whole, rest, k)
        )
    scores = np.empty((len(queries), k), np.float32)
    rows = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        size = 1 << (len(block) - 1).bit_length()
        padded = np.zeros((size, queries.shape[1]), np.float32)
        padded[: len(block)] = block
        found = compiled[k](ops.convert_to_tensor(padded), *parts)
        stop = start + len(block)
        values, where = (ops.convert_to_numpy(x)[: len(block)] for x in found)
        scores[start:stop], rows[start:stop] = values, where
    return scores, rows
