"""The exact index of a sparse matrix."""

from typing import Any, Self

import numpy as np
from scipy import sparse

from recsys.indexes.base import Index

BLOCK = 32


class SparseIndex(Index):
    """Finds the candidates of highest score in a sparse matrix, exactly.

    For features that are too many to be held as a full matrix. Equal scores
    come in the order of the candidates. It runs in SciPy on every backend.

    Args:
        k: number of candidates returned by default.
        metric: `"dot"` or `"cosine"`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from scipy import sparse
        >>> index = SparseIndex(k=1).index(sparse.eye_array(3))
        >>> index(np.array([[1.0, 3.0, 2.0]]))[1].tolist()
        [[1]]
    """

    def index(self, candidates: Any, ids: Any = None) -> Self:
        """Takes the candidates, in place of any before.

        Args:
            candidates: SciPy sparse matrix `(N, D)`.
            ids: N unique integers from 0 or strings; row numbers by default.

        Returns:
            The index itself.

        Raises:
            ValueError: if the ids are wrong or a value is not finite.
        """
        rows = sparse.csr_array(candidates, dtype=np.float32)
        if not np.isfinite(rows.data).all():
            raise ValueError("candidates must be finite. Received: NaN or inf")
        self._set_ids(ids, rows.shape[0])
        self.dim = rows.shape[1]
        self._candidates = unit_rows(rows) if self.metric == "cosine" else rows
        return self

    def _search(
        self, queries: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for start in range(0, len(queries), BLOCK):
            block = queries[start : start + BLOCK]
            scores = (self._candidates @ block.T).T  # (block, N)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            found.append((np.take_along_axis(scores, order, axis=1), order))
        scores, rows = (
            np.concatenate(parts) for parts in zip(*found, strict=True)
        )
        return scores, rows


def unit_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    """Brings each row to length 1; rows of zeros stay."""
    length = np.sqrt(matrix.multiply(matrix).sum(axis=1))
    scale = 1 / np.where(length == 0, 1, length)
    return sparse.csr_array(sparse.diags_array(scale) @ matrix)
