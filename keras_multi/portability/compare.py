"""Where the answers of the backends part."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# A layer adds up at most some thousand products, each with a relative error
# of 6e-8 in float32, in an order of the backend's own: its output, on equal
# inputs, is right to 1e-5 of its largest value. Errors of many layers add up;
# 1e-4 holds for a whole model and its gradients.
LAYER = 1e-5
MODEL = 1e-4
# Optimizers divide small numbers by small numbers.
TRAINING = 5e-3
# bfloat16 has 8 bits: each operation is right to 4e-3.
BFLOAT16 = 5e-2
# Values below this are small beside the ones that went in.
_SMALLEST_SCALE = 1e-3
# Gradients that are zero but for rounding are judged beside the others.
_GRADIENT_SHARE = 1e-2

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Parting:
    """Backends that differ from the rest.

    Attributes:
        backends: the odd ones; the reference alone if the others agree.
        name: the array that differs.
        error: by how much, relative to the largest value.
    """

    backends: tuple[str, ...]
    name: str
    error: float


def relative_error(
    value: np.ndarray, reference: np.ndarray, scale: float = _SMALLEST_SCALE
) -> float:
    """Largest difference over the largest value.

    Args:
        value: an array.
        reference: what it should be. Where it is not finite, `value` must be
            the same.
        scale: the least that the difference is divided by.

    Returns:
        The error; infinite if shapes or non-finite values differ.

    Example:
        >>> import numpy as np
        >>> from keras_multi.portability import compare
        >>> compare.relative_error(np.array([1.0, 3.0]), np.array([1.0, 4.0]))
        0.25
    """
    if value.shape != reference.shape:
        return math.inf
    if value.dtype.kind not in "fc" or reference.dtype.kind not in "fc":
        # Integers and truth values may differ in width, not in value.
        return 0.0 if np.array_equal(value, reference) else math.inf
    ours, theirs = value.astype("float64"), reference.astype("float64")
    finite = np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
        return math.inf
    if not finite.any():
        return 0.0
    ours, theirs = ours[finite], theirs[finite]
    if not np.isfinite(ours).all():
        return math.inf
    largest = max(float(np.abs(theirs).max()), scale)
    return float(np.abs(ours - theirs).max()) / largest


def first_parting(
    arrays: Mapping[str, Arrays],
    reference: str,
    names: Sequence[str],
    tolerance: float,
    scale: float = _SMALLEST_SCALE,
) -> Parting | None:
    """The first array at which a backend parts from the reference.

    Args:
        arrays: by backend and name. What a backend does not have is not
            judged.
        reference: one of the backends.
        names: the arrays, in the order to look at.
        tolerance: largest relative error that is none.
        scale: the least that a difference is divided by.
    """
    for name in names:
        right = arrays[reference][name]
        others = {
            backend: mine[name]
            for backend, mine in arrays.items()
            if backend != reference and name in mine
        }
        errors = {
            backend: relative_error(value, right, scale)
            for backend, value in others.items()
        }
        parted = [b for b, error in errors.items() if not error <= tolerance]
        if not parted:
            continue
        worst = max(errors.values())
        first = others[parted[0]]
        agree = len(parted) > 1 and all(
            relative_error(others[b], first, scale) <= tolerance for b in parted
        )
        if agree and len(parted) == len(others):
            return Parting((reference,), name, worst)
        return Parting(tuple(parted), name, worst)
    return None


def largest_error(
    arrays: Mapping[str, Arrays], reference: str, names: Sequence[str]
) -> float:
    """The largest error of any backend against the reference."""
    return max(
        (
            relative_error(mine[name], arrays[reference][name])
            for backend, mine in arrays.items()
            if backend != reference
            for name in names
            if name in mine
        ),
        default=0.0,
    )


def gradient_scale(gradients: Sequence[np.ndarray]) -> float:
    """The least that differences of gradients are divided by."""
    largest = max(
        (float(np.abs(g).max()) for g in gradients if g.size), default=0.0
    )
    return max(_GRADIENT_SHARE * largest, 1e-9)
