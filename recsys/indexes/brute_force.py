"""The exact index: all scores, then the best of them."""

import os
from typing import Any, Self

import numpy as np
from keras import ops

from keras_multi.errors import DataError
from recsys.indexes.base import Index
from recsys.indexes.topk import ExactSearch, split

DTYPES = ("float32", "float16", "bfloat16")


class BruteForceIndex(Index):
    """Finds the candidates of highest score, exactly.

    Equal scores come in the order of the candidates. Scores are computed in
    float32 from candidates stored in `dtype`.

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
        self._exact = ExactSearch()

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
        return self._exact(queries, self._parts, k)

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
