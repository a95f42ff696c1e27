"""Arithmetic on tensors of which some entries do not count."""

from typing import Any

import keras
from keras import ops

LOWEST = -1e30


def widen(x: Any) -> Any:
    """Casts to float32; float64 stays as it is."""
    x = ops.convert_to_tensor(x)
    if keras.backend.standardize_dtype(x.dtype) == "float64":
        return x
    return ops.cast(x, "float32")


def masked_logsumexp(logits: Any, mask: Any) -> Any:
    """Log of the sum of exponentials over the last axis, where `mask` holds.

    An entry outside of the mask adds exactly nothing, to the value and to the
    gradient. Where the mask holds nowhere the result is finite.

    Args:
        logits: float tensor `(..., n)`, float32 or wider.
        mask: bool tensor of the same shape.

    Returns:
        Float tensor `(...)`.
    """
    return ops.logsumexp(ops.where(mask, logits, LOWEST), axis=-1)


def lists(y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
    """Unpacks ranked lists into scores, labels and what is no padding.

    Args:
        y_true: labels `(batch, list)`, or a dictionary of `"labels"` and
            `"mask"` (true for items, false for padding). A label below zero
            marks padding too.
        y_pred: scores `(batch, list)`.

    Returns:
        Scores and labels (float32 or wider, zero at padding) and a bool
        tensor, each `(batch, list)`.

    Raises:
        ValueError: if the labels and scores are not of one shape of rank 2.
    """
    mask = None
    if isinstance(y_true, dict):
        y_true, mask = y_true["labels"], y_true.get("mask")
    labels, scores = widen(y_true), widen(y_pred)
    if len(scores.shape) != 2 or len(labels.shape) != 2:
        raise ValueError(
            "Labels and scores must be of shape (batch, list). Received: "
            f"labels.shape={labels.shape}, scores.shape={scores.shape}"
        )
    if scores.shape[1] != labels.shape[1]:
        raise ValueError(
            "Labels and scores must be equally long. Received: "
            f"labels.shape={labels.shape}, scores.shape={scores.shape}"
        )
    valid = labels >= 0
    if mask is not None:
        valid = ops.logical_and(valid, ops.cast(mask, "bool"))
    return (
        ops.where(valid, scores, 0.0),
        ops.where(valid, labels, 0.0),
        valid,
    )
