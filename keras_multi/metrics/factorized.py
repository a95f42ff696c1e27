"""Top-k accuracy of two towers over a whole corpus."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_multi.losses.masking import widen


def candidate_ranks(
    queries: Any,
    candidates: Any,
    true_ids: Any,
    excluded_ids: Any = None,
    chunk_size: int = 16384,
) -> Any:
    """Counts the candidates that score at least as high as the true one.

    Ties count against the true candidate, so that towers that give the same
    everywhere do not look good; products that differ by rounding (1e-6 of the
    lengths of the vectors) are ties.

    Args:
        queries: float tensor `(batch, dim)`.
        candidates: float tensor `(corpus, dim)`, whose rows are the ids.
        true_ids: integer tensor `(batch,)`.
        excluded_ids: integer tensor `(batch, n)` of candidates that do not
            count; -1 is padding. The true one counts in any case.
        chunk_size: candidates that are scored at once.

    Returns:
        Integer tensor `(batch,)`: 0 where the true candidate is the best.

    Example:
        >>> import numpy as np
        >>> from keras_multi.metrics import candidate_ranks
        >>> x = np.eye(3, dtype="float32")
        >>> np.asarray(candidate_ranks(x, x, np.arange(3))).tolist()
        [0, 0, 0]
    """
    queries, true_ids = widen(queries), ops.cast(true_ids, "int32")
    candidates = ops.convert_to_tensor(candidates)
    own = widen(ops.take(candidates, true_ids, axis=0))
    lengths = ops.norm(queries, axis=1) * ops.norm(own, axis=1)
    threshold = (ops.sum(queries * own, axis=1) - 1e-6 * lengths)[:, None]
    skipped = true_ids[:, None]
    if excluded_ids is not None:
        skipped = ops.concatenate(
            [skipped, ops.cast(excluded_ids, "int32")], axis=1
        )
    batch = ops.shape(queries)[0]
    rows = ops.broadcast_to(ops.arange(batch)[:, None], ops.shape(skipped))
    rows = ops.reshape(ops.cast(rows, "int32"), (-1,))
    ranks = ops.zeros((batch,), "int32")
    for start in range(0, candidates.shape[0], chunk_size):
        chunk = widen(candidates[start : start + chunk_size])
        size = chunk.shape[0]
        places = ops.reshape(skipped - start, (-1,))
        inside = ops.logical_and(places >= 0, places < size)
        # The last column takes what lies in other chunks.
        indices = ops.stack([rows, ops.where(inside, places, size)], axis=1)
        counts = ops.scatter_update(
            ops.ones((batch, size + 1), "int32"),
            indices,
            ops.zeros_like(rows),
        )[:, :size]
        scores = ops.matmul(queries, ops.transpose(chunk))
        higher = ops.cast(scores >= threshold, "int32")
        ranks = ranks + ops.sum(higher * counts, axis=1)
    return ranks


@keras.saving.register_keras_serializable("keras_multi")
class FactorizedTopK(keras.metrics.Metric):
    """Share of rows whose true candidate is among the top k of a corpus.

    Exact; `candidate_ranks` says how ties and excluded candidates count.

    Args:
        ks: positive integers.
        chunk_size: candidates that are scored at once.
        **kwargs: arguments of `keras.metrics.Metric`.

    Raises:
        ValueError: if a k or `chunk_size` is below 1.

    Example:
        >>> import numpy as np
        >>> from keras_multi.metrics import FactorizedTopK
        >>> x, metric = np.eye(3, dtype="float32"), FactorizedTopK([1])
        >>> metric.update_state(np.arange(3), x, x)
        >>> float(metric.result()["top_1"])
        1.0
    """

    def __init__(
        self,
        ks: Sequence[int] = (1, 5, 10, 50, 100),
        chunk_size: int = 16384,
        name: str = "factorized_top_k",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not ks or min(*ks, chunk_size) < 1:
            raise ValueError(
                "`ks` and `chunk_size` must be at least 1. "
                f"Received: ks={ks}, chunk_size={chunk_size}"
            )
        self.ks = tuple(ks)
        self.chunk_size = chunk_size
        self.hits = self.add_variable((len(ks),), "zeros", name="hits")
        self.total = self.add_variable((), "zeros", name="total")

    def update_state(
        self,
        true_ids: Any,
        queries: Any,
        candidates: Any,
        excluded_ids: Any = None,
        sample_weight: Any = None,
    ) -> None:
        """Adds rows.

        Args:
            true_ids: integer tensor `(batch,)`.
            queries: float tensor `(batch, dim)`.
            candidates: float tensor `(corpus, dim)`.
            excluded_ids: integer tensor `(batch, n)`; -1 is padding.
            sample_weight: float tensor `(batch,)`.
        """
        ranks = candidate_ranks(
            queries, candidates, true_ids, excluded_ids, self.chunk_size
        )
        dtype = self.hits.dtype
        weight = (
            ops.ones_like(ranks, dtype=dtype)
            if sample_weight is None
            else ops.cast(sample_weight, dtype)
        )
        hits = [ops.sum(ops.cast(ranks < k, dtype) * weight) for k in self.ks]
        self.hits.assign_add(ops.stack(hits))
        self.total.assign_add(ops.sum(weight))

    def result(self) -> dict[str, Any]:
        shares = ops.divide_no_nan(self.hits.value, self.total.value)
        return {f"top_{k}": shares[i] for i, k in enumerate(self.ks)}

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self.dtype,
            "ks": self.ks,
            "chunk_size": self.chunk_size,
        }
