"""Ways from one prompt or one noise to another."""

from typing import Any

import numpy as np


def lerp(first: Any, second: Any, num: int) -> np.ndarray:
    """Gives points on the straight line between two encoded prompts.

    Args:
        first: float `(T, D)`.
        second: of the same shape.
        num: number of points, both ends included.

    Returns:
        `(num, T, D)`.

    Example:
        >>> lerp([0.0], [1.0], 3).tolist()
        [[0.0], [0.5], [1.0]]
    """
    first, second = np.asarray(first), np.asarray(second)
    return np.linspace(first, second, num, dtype=first.dtype)


def slerp(first: Any, second: Any, num: int) -> np.ndarray:
    """Gives points on the arc between two draws of noise.

    On the straight line between them noise would have too little variance
    (Shoemake 1985, "Animating Rotation with Quaternion Curves", section 3.3).

    Args:
        first: float array.
        second: of the same shape.
        num: number of points, both ends included.

    Returns:
        `(num, *shape)`.

    Example:
        >>> slerp([1.0, 0.0], [0.0, 1.0], 3).round(3).tolist()
        [[1.0, 0.0], [0.707, 0.707], [0.0, 1.0]]
    """
    first, second = np.asarray(first), np.asarray(second)
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    cosine = np.sum(first * second) / lengths
    angle = np.arccos(np.clip(cosine, -1, 1))
    if np.sin(angle) < 1e-6:  # They have the same direction.
        return lerp(first, second, num)
    shares = np.linspace(0, 1, num).reshape(-1, *(1,) * first.ndim)
    points = (
        np.sin((1 - shares) * angle) * first + np.sin(shares * angle) * second
    )
    result: np.ndarray = (points / np.sin(angle)).astype(first.dtype)
    return result
