"""Exact top-k of a product, pruned by the maxima of groups of candidates.

The candidates are cut into chunks of S consecutive rows. Group g holds row g
of each chunk, so the maxima of all groups are the elementwise maximum of the
chunks' scores, and no more than one chunk's scores are in memory at a time.

Let the n groups of the highest maxima be searched for their n best scores.
Each group that was not searched lies below n scores that were. So where score
k is greater than score k + 1 <= n, the k rows are the right ones; where both
are equal, only a search of all candidates tells which row comes first.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_multi import backend

CHUNKS = 16
BLOCK = 64
# More groups than needed are searched, since the second computation of a
# score may round otherwise than the first.
SPARE = 8


def split(candidates: Any, chunks: int = CHUNKS) -> list[Any]:
    """Cuts `(N, D)` into chunks of N // chunks rows, and the rest.

    Returns:
        The chunks, if they have any row, and last what remains, which may
        have none.
    """
    size = candidates.shape[0] // chunks
    starts = range(0, size * chunks, size) if size else ()
    parts = [candidates[start : start + size] for start in starts]
    return [*parts, candidates[size * chunks :]]


class ExactSearch:
    """Finds the rows of highest product, exactly.

    Queries run in blocks of at most 64, padded to a power of two, so that few
    shapes are compiled.
    """

    def __init__(self) -> None:
        self._compiled: dict[Any, Any] = {}

    def __call__(
        self, queries: np.ndarray, parts: list[Any], k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Searches some candidates.

        Args:
            queries: float32 `(B, D)`.
            parts: candidates of any float dtype as `split` cuts them.
            k: number of rows to find, at most the number of candidates.

        Returns:
            Scores, float32 `(B, k)`, falling, and rows, int64 `(B, k)`; equal
            scores in rising order of the row.
        """
        if len(parts) == 1 or parts[0].shape[0] < 2 * (k + 1 + SPARE):
            return self._run(stable_top_k, queries, parts, k)
        scores, rows = self._run(unordered_top_k, queries, parts, k + 1)
        tied = ~(scores[:, k - 1] > scores[:, k])
        scores, rows = scores[:, :k], rows[:, :k]
        order = np.lexsort((rows, -scores))
        scores = np.take_along_axis(scores, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
        if tied.any():
            again = self._run(stable_top_k, queries[tied], parts, k)
            scores[tied], rows[tied] = again
        return scores, rows

    def _run(
        self,
        find: Callable[[Any, list[Any], int], tuple[Any, Any]],
        queries: np.ndarray,
        parts: list[Any],
        k: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        if (find, k) not in self._compiled:
            self._compiled[find, k] = backend.inference(
                lambda queries, *parts: find(queries, list(parts), k)
            )
        compiled = self._compiled[find, k]
        scores = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.int64)
        for start in range(0, len(queries), BLOCK):
            block = queries[start : start + BLOCK]
            size = 1 << (len(block) - 1).bit_length()
            padded = np.zeros((size, queries.shape[1]), np.float32)
            padded[: len(block)] = block
            found = compiled(ops.convert_to_tensor(padded), *parts)
            stop = start + len(block)
            scores[start:stop], rows[start:stop] = (
                ops.convert_to_numpy(x)[: len(block)] for x in found
            )
        return scores, rows


def stable_top_k(queries: Any, parts: list[Any], k: int) -> tuple[Any, Any]:
    """Finds the k best rows among the scores of all candidates.

    Args:
        queries: float32 `(B, D)`.
        parts: candidates.
        k: number of rows.

    Returns:
        Scores in float32 `(B, k)`, falling, and rows in int32 `(B, k)`; equal
        scores in rising order of the row.
    """
    scores = ops.concatenate([_scores(queries, part) for part in parts], axis=1)
    # Some sorts tell -0.0 and 0.0 apart.
    scores = ops.where(scores == 0, ops.zeros_like(scores), scores)
    values, rows = backend.framework().stable_top_k(scores, k)
    return values, rows


def unordered_top_k(queries: Any, parts: list[Any], k: int) -> tuple[Any, Any]:
    """Finds the k best rows among the groups of highest maxima.

    Args:
        queries: float32 `(B, D)`.
        parts: chunks of at least `k + SPARE` rows, and the rest.
        k: number of rows.

    Returns:
        Scores in float32 `(B, k)`, falling, and rows in int32 `(B, k)`; equal
        scores in any order, and which of several that equal the last is
        found is left open too.
    """
    *chunks, rest = parts
    size = chunks[0].shape[0]
    maxima = backend.framework().maxima_of_products(queries, chunks)
    _, groups = ops.top_k(maxima, k + SPARE, sorted=False)
    groups = ops.cast(groups, "int32")  # (B, n)
    scores = [_scores_of_rows(queries, chunk, groups) for chunk in chunks]
    rows = [groups + i * size for i in range(len(chunks))]
    last = ops.arange(rest.shape[0], dtype="int32") + size * len(chunks)
    shape = (queries.shape[0], rest.shape[0])
    scores = ops.concatenate([*scores, _scores(queries, rest)], axis=1)
    rows = ops.concatenate([*rows, ops.broadcast_to(last, shape)], axis=1)
    best, position = ops.top_k(scores, k)
    return best, ops.take_along_axis(rows, position, axis=1)


def _scores(queries: Any, candidates: Any) -> Any:
    candidates = ops.cast(candidates, "float32")
    return ops.matmul(queries, ops.transpose(candidates))


def _scores_of_rows(queries: Any, candidates: Any, rows: Any) -> Any:
    """Products of each query with its own rows `(B, n)`."""
    found = ops.cast(ops.take(candidates, rows, axis=0), "float32")
    return ops.sum(found * queries[:, None, :], axis=-1)
