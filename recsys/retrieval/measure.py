"""How well vectors of users find the items that they chose."""

from typing import Any

import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.metrics import candidate_ranks

KS = (1, 5, 10, 50, 100)
BATCH_SIZE = 1_000


def ranks(
    queries: np.ndarray,
    candidates: np.ndarray,
    true: np.ndarray,
    excluded: np.ndarray | None = None,
) -> np.ndarray:
    """Counts the candidates that score as high as the true one or higher.

    Args:
        queries: `(rows, dim)`.
        candidates: `(corpus, dim)`.
        true: row of the true candidate of each query, `(rows,)`.
        excluded: rows of candidates that do not count, `(rows, n)`, padded
            with -1.

    Returns:
        Integers `(rows,)`: 0 where the true candidate is the best.
    """
    rank = backend.inference(candidate_ranks)
    corpus = ops.convert_to_tensor(candidates.astype(np.float32))
    parts = []
    for start in range(0, len(queries), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        arguments = [queries[rows].astype(np.float32), corpus, true[rows]]
        if excluded is not None:
            arguments.append(excluded[rows])
        tensors = [ops.convert_to_tensor(array) for array in arguments]
        parts.append(ops.convert_to_numpy(rank(*tensors)))
    return np.concatenate(parts)


def summary(found: np.ndarray) -> dict[str, float]:
    """Turns ranks into metrics; each query has one relevant item.

    Args:
        found: ranks from 0, `(rows,)`.

    Returns:
        `top_k`, the share of queries whose item is among the first k (recall
        at k, the hit rate), and `ndcg_k`, the mean of `1 / log2(2 + rank)`
        of those (Järvelin and Kekäläinen 2002 with one relevant item).

    Example:
        >>> summary(np.array([0, 7]))["top_5"]
        0.5
    """
    result = {f"top_{k}": float(np.mean(found < k)) for k in KS}
    for k in (10, 100):
        gains = np.where(found < k, 1 / np.log2(2.0 + found), 0.0)
        result[f"ndcg_{k}"] = float(gains.mean())
    return result


def measure(
    queries: np.ndarray,
    candidates: np.ndarray,
    true: np.ndarray,
    seen: np.ndarray,
) -> dict[str, Any]:
    """Gives the metrics with all items as candidates, and without seen ones.

    Args:
        queries: `(rows, dim)`.
        candidates: `(corpus, dim)`.
        true: row of the true candidate of each query.
        seen: rows of the candidates that the user has chosen in training,
            `(rows, n)`, padded with -1.

    Returns:
        What `summary` gives, then the same with `_excluding_seen` added to
        the names.
    """
    every = summary(ranks(queries, candidates, true))
    new = summary(ranks(queries, candidates, true, seen))
    return every | {f"{k}_excluding_seen": v for k, v in new.items()}
