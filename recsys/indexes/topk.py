"""Exact top-k of a product, pruned by the maxima of groups of candidates.

The candidates are cut into groups of consecutive rows. A candidate among the
first k (by falling score, then rising row) lies in one of the first k groups
(by falling maximum, then rising position): otherwise each of those k groups
held a candidate that precedes it. So only the first k groups are searched.
"""

from typing import Any

from keras import ops

from keras_multi import backend

GROUP = 40


def split(candidates: Any, group: int = GROUP) -> tuple[Any, Any]:
    """Cuts `(N, D)` into whole groups `(N // group * group, D)` and the rest.

    Kept apart so that no score matrix must be sliced, which copies it.
    """
    whole = candidates.shape[0] // group * group
    return candidates[:whole], candidates[whole:]


def top_k_of_product(
    queries: Any, whole: Any, rest: Any, k: int, group: int = GROUP
) -> tuple[Any, Any]:
    """Finds the k rows of highest inner product, exactly.

    Args:
        queries: float32 `(B, D)`.
        whole: `(M, D)`, any float dtype, M a multiple of `group`.
        rest: `(R, D)`, the rows after those; R may be 0, as may M.
        k: number of rows, at most `M + R`.
        group: rows in a group.

    Returns:
        Scores in float32 `(B, k)`, falling, and rows in int32 `(B, k)`; equal
        scores in rising order of the row.
    """
    count = whole.shape[0]
    batch = queries.shape[0]
    tail = _scores(queries, rest)
    if count // group <= k:
        everything = ops.concatenate([_scores(queries, whole), tail], axis=1)
        return backend.framework().stable_top_k(_unsigned(everything), k)
    stable_top_k = backend.framework().stable_top_k
    grouped = ops.reshape(
        _scores(queries, whole), (batch, count // group, group)
    )
    _, chosen = stable_top_k(_unsigned(ops.max(grouped, axis=-1)), k)
    chosen = ops.sort(chosen, axis=-1)  # so that equal scores are by row
    inside = ops.take_along_axis(grouped, chosen[:, :, None], axis=1)
    inside = ops.reshape(inside, (batch, k * group))
    rows = chosen[:, :, None] * group + ops.arange(group, dtype="int32")
    rows = ops.reshape(rows, (batch, k * group))
    last = ops.arange(count, count + rest.shape[0], dtype="int32")
    last = ops.broadcast_to(last[None], (batch, rest.shape[0]))
    rows = ops.concatenate([rows, last], axis=1)
    scores = ops.concatenate([inside, tail], axis=1)
    best, position = stable_top_k(_unsigned(scores), k)
    return best, ops.take_along_axis(rows, position, axis=1)


def _scores(queries: Any, candidates: Any) -> Any:
    candidates = ops.cast(candidates, "float32")
    return ops.matmul(queries, ops.transpose(candidates))


def _unsigned(x: Any) -> Any:
    """Makes -0.0 and 0.0 the same, which some sorts tell apart."""
    return ops.where(x == 0, ops.zeros_like(x), x)
