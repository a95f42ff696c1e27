"""Draws from a symmetric beta distribution."""

from math import pi
from typing import Any

from keras import ops


def symmetric_beta(u: Any, v: Any, alpha: float) -> Any:
    """Turns two draws from [0, 1) into one from Beta(alpha, alpha).

    The polar method for Student's t (Bailey, "Polar generation of random
    variates with the t-distribution", Mathematics of Computation 62, 1994)
    with 2 alpha degrees of freedom, and the map from t to beta (Devroye,
    "Random variate generation in one line of code", 1996, section 5). Exact,
    without rejection, so it has a fixed shape and runs under any compiler.

    Args:
        u: float tensor.
        v: float tensor of the same shape.
        alpha: positive number.
    """
    cosine = ops.cos(2 * pi * v)
    # 1 - u is never 0. Where alpha is small the power may be infinite,
    # which stands for a draw that is 0 or 1 to the last digit.
    squared = (ops.power(1.0 - u, -1.0 / alpha) - 1.0) * ops.square(cosine)
    distance = ops.sqrt(1.0 / (1.0 + 1.0 / squared))
    return 0.5 + 0.5 * ops.sign(cosine) * distance
