"""Softmax over the candidates of a batch, to train two towers."""

from typing import Any

import keras
from keras import ops

from keras_multi.losses.masking import LOWEST, widen


def in_batch_softmax(
    queries: Any,
    candidates: Any,
    *,
    candidate_ids: Any = None,
    sampling_probability: Any = None,
    temperature: float = 1.0,
    num_hard_negatives: int | None = None,
    extra_candidates: Any = None,
    extra_ids: Any = None,
    sample_weight: Any = None,
) -> Any:
    """Cross entropy of each query's candidate against those of the others.

    The logit of query i and candidate j is `q_i . c_j / temperature - log
    p_j` (Yi et al. 2019, "Sampling-bias-corrected neural modeling for large
    corpus item recommendations", section 4), computed in float32 whatever the
    dtype of the embeddings. A negative with the id of the row's own candidate
    (an accidental hit) has probability and gradient exactly zero.

    Args:
        queries: float tensor `(batch, dim)`.
        candidates: float tensor `(batch, dim)`; row i belongs to query i.
        candidate_ids: integer tensor `(batch,)`; without it accidental hits
            stay negatives.
        sampling_probability: float tensor `(batch + extra,)`, the chance in
            (0, 1] of each candidate to be in a batch.
        temperature: positive number that divides the products.
        num_hard_negatives: how many negatives of the highest logit to keep in
            each row; all by default.
        extra_candidates: float tensor `(extra, dim)`, negatives of all rows.
        extra_ids: integer tensor `(extra,)`, needed if both
            `extra_candidates` and `candidate_ids` are given.
        sample_weight: float tensor `(batch,)` that multiplies the losses.

    Returns:
        Float32 tensor `(batch,)`, the loss of each row.

    Raises:
        ValueError: if `temperature` or `num_hard_negatives` is not positive,
            or `extra_ids` is missing.

    Example:
        >>> import numpy as np
        >>> from keras_multi.losses import in_batch_softmax
        >>> x = np.eye(3, dtype="float32")
        >>> in_batch_softmax(x, x, candidate_ids=np.arange(3)).shape
        (3,)
    """
    _check(temperature, num_hard_negatives)
    queries, positives = widen(queries), widen(candidates)
    pool, ids = positives, candidate_ids
    if extra_candidates is not None:
        pool = ops.concatenate([positives, widen(extra_candidates)], axis=0)
        if ids is not None:
            if extra_ids is None:
                raise ValueError(
                    "`extra_ids` must be given with `candidate_ids` and "
                    "`extra_candidates`. Received: extra_ids=None"
                )
            ids = ops.concatenate(
                [ops.cast(ids, "int32"), ops.cast(extra_ids, "int32")], axis=0
            )
    logits = ops.matmul(queries, ops.transpose(pool)) / temperature
    if sampling_probability is not None:
        logits = logits - ops.log(widen(sampling_probability))[None, :]

    rows = ops.arange(ops.shape(queries)[0], dtype="int32")
    places = ops.arange(ops.shape(pool)[0], dtype="int32")
    others = ops.not_equal(rows[:, None], places[None, :])
    if ids is None:
        negative = others
    else:
        ids = ops.cast(ids, "int32")
        own_ids = ops.cast(candidate_ids, "int32")[:, None]
        negative = ops.not_equal(own_ids, ids[None, :])
    if num_hard_negatives is not None:
        positive = ops.where(others, 0.0, logits)
        positive = ops.sum(positive, axis=1, keepdims=True)
        logits = _hardest(logits, negative, num_hard_negatives)
        losses = ops.logsumexp(
            ops.concatenate([positive, logits], axis=1), axis=1
        ) - ops.squeeze(positive, axis=1)
    else:
        if ids is not None:
            hit = ops.logical_and(others, ops.logical_not(negative))
            logits = ops.where(hit, LOWEST, logits)
        losses = ops.sparse_categorical_crossentropy(
            rows, logits, from_logits=True
        )
    if sample_weight is not None:
        losses = losses * ops.cast(sample_weight, losses.dtype)
    return losses


def _hardest(logits: Any, negative: Any, count: int) -> Any:
    """The highest logits of negatives; the lowest number where there are none.

    The batch may be smaller than their number, and its size may be unknown.
    """
    kept = ops.where(negative, logits, LOWEST)
    kept = ops.pad(kept, ((0, 0), (0, count)), constant_values=LOWEST)
    return ops.top_k(kept, count)[0]


def _check(temperature: float, num_hard_negatives: int | None) -> None:
    if not temperature > 0:
        raise ValueError(
            "`temperature` must be positive. "
            f"Received: temperature={temperature}"
        )
    if num_hard_negatives is not None and num_hard_negatives < 1:
        raise ValueError(
            "`num_hard_negatives` must be None or at least 1. "
            f"Received: num_hard_negatives={num_hard_negatives}"
        )


@keras.saving.register_keras_serializable("keras_multi")
class SampledSoftmax(keras.layers.Layer):
    """`in_batch_softmax` with its settings, as a layer of a train step.

    It is a layer, since `keras.losses.Loss` casts what it is given to its
    float dtype, in which ids lose their last digits. A model calls it in
    `compute_loss` and takes the mean.

    Args:
        temperature: positive number that divides the products.
        num_hard_negatives: how many negatives to keep in each row, or `None`.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        queries, candidates, and the tensors that `in_batch_softmax` takes.

    Returns:
        Float32 tensor `(batch,)`.

    Raises:
        ValueError: if a setting is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_multi.losses import SampledSoftmax
        >>> x = np.eye(3, dtype="float32")
        >>> SampledSoftmax(temperature=0.1)(x, x).shape
        (3,)
    """

    def __init__(
        self,
        temperature: float = 1.0,
        num_hard_negatives: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        _check(temperature, num_hard_negatives)
        self.temperature = temperature
        self.num_hard_negatives = num_hard_negatives

    def call(
        self,
        queries: Any,
        candidates: Any,
        candidate_ids: Any = None,
        sampling_probability: Any = None,
        extra_candidates: Any = None,
        extra_ids: Any = None,
        sample_weight: Any = None,
    ) -> Any:
        return in_batch_softmax(
            queries,
            candidates,
            candidate_ids=candidate_ids,
            sampling_probability=sampling_probability,
            temperature=self.temperature,
            num_hard_negatives=self.num_hard_negatives,
            extra_candidates=extra_candidates,
            extra_ids=extra_ids,
            sample_weight=sample_weight,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "num_hard_negatives": self.num_hard_negatives,
        }
