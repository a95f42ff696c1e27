"""Measures of ranked lists, one number a list.

Each takes labels in the order of the ranking `(batch, list)`, float, with
zero at padding, and the number of places that count. An item is relevant if
its label is above zero.
"""

from typing import Any

from keras import ops


def by_score(scores: Any, labels: Any, valid: Any) -> Any:
    """Orders labels by falling score, equal scores as they stand.

    Args:
        scores: float tensor `(batch, list)`.
        labels: float tensor of the same shape.
        valid: bool tensor of the same shape; the others come last, as zero.
    """
    keys = ops.where(valid, -scores, float("inf"))
    order = ops.argsort(keys, axis=1)
    labels = ops.cast(ops.where(valid, labels, 0.0), "float32")
    return ops.take_along_axis(labels, order, axis=1)


def relevant(ranked: Any) -> Any:
    """One where the label is above zero, else zero."""
    return ops.cast(ranked > 0, "float32")


def recall(ranked: Any, k: int) -> Any:
    """Share of the relevant items that is among the first k."""
    hits = relevant(ranked)
    total = ops.maximum(ops.sum(hits, axis=1), 1.0)
    return ops.sum(hits[:, :k], axis=1) / total


def hit_rate(ranked: Any, k: int) -> Any:
    """One if any of the first k items is relevant, else zero."""
    return ops.max(relevant(ranked)[:, :k], axis=1)


def reciprocal_rank(ranked: Any, k: int) -> Any:
    """One over the place of the first relevant item of the first k."""
    hits = relevant(ranked)[:, :k]
    places = ops.arange(1, hits.shape[1] + 1, dtype="float32")
    return ops.max(hits / places, axis=1)


def average_precision(ranked: Any, k: int) -> Any:
    """Mean precision at the relevant items of the first k.

    The sum is divided by the number of relevant items or by k, whichever is
    smaller, so that the best order has 1.
    """
    hits = relevant(ranked)
    top = hits[:, :k]
    places = ops.arange(1, top.shape[1] + 1, dtype="float32")
    precision = ops.cumsum(top, axis=1) / places
    total = ops.clip(ops.sum(hits, axis=1), 1.0, float(k))
    return ops.sum(precision * top, axis=1) / total


def ndcg(ranked: Any, k: int, gain: str = "exponential") -> Any:
    """Discounted gain over the best one, with `1 / log2(1 + place)`.

    The gain is `2^label - 1` (Burges et al. 2005, "Learning to rank using
    gradient descent", section 6), or the label if it is `"linear"`
    (Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR
    techniques").
    """
    gains = ranked if gain == "linear" else ops.power(2.0, ranked) - 1.0
    best = -ops.sort(-gains, axis=1)[:, :k]
    gains = gains[:, :k]
    places = ops.arange(1, gains.shape[1] + 1, dtype="float32")
    discounts = ops.log2(1.0 + places)
    highest = ops.sum(best / discounts, axis=1)
    total = ops.sum(gains / discounts, axis=1)
    return total / ops.where(highest > 0, highest, 1.0)
