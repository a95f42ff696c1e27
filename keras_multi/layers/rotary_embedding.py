"""Rotary position embedding."""

from typing import Any

from keras import ops

Rotation = tuple[Any, Any]


def rotation(positions: Any, head_dim: int, base: float = 10000.0) -> Rotation:
    """Computes by which angles `rotate` turns the features at each position.

    Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position
    Embedding", section 3.2.2: pair `i` of the features at position `p` is
    turned by `p * base ** (-2 i / head_dim)`, so that the product of a query
    with a key depends on the distance of their positions only.

    Args:
        positions: integers `(tokens,)` or `(batch, tokens)`.
        head_dim: number of features of a head; even.
        base: the larger, the slower the last pairs turn.

    Returns:
        Cosines and sines, float32 `(..., tokens, head_dim / 2)`.

    Raises:
        ValueError: if `head_dim` is odd.

    Example:
        >>> cosines, _ = rotation(ops.arange(3), head_dim=4)
        >>> cosines.shape
        (3, 2)
    """
    if head_dim % 2:
        raise ValueError(
            "rotary embedding needs an even number of features. "
            f"Received: head_dim={head_dim}"
        )
    speeds = [base ** (-2 * i / head_dim) for i in range(head_dim // 2)]
    angles = ops.cast(positions, "float32")[..., None] * (
        ops.convert_to_tensor(speeds, "float32")
    )
    return ops.cos(angles), ops.sin(angles)


def rotate(x: Any, rotation: Rotation) -> Any:
    """Turns the features of queries or keys by the angles of their positions.

    Feature `i` of the first half and feature `i` of the second are a pair.
    The paper pairs neighbours, which is the same but for the order of the
    features.

    Args:
        x: float tensor `(..., head_dim)`.
        rotation: what the function `rotation` gives, of a shape that is
            broadcast to that of a half of `x`.

    Returns:
        Float tensor of the shape and dtype of `x`.

    Example:
        >>> x = ops.convert_to_tensor([[1.0, 0.0]])
        >>> y = rotate(x, rotation(ops.arange(1), head_dim=2))
        >>> ops.convert_to_numpy(y).tolist()
        [[1.0, 0.0]]
    """
    cosines, sines = rotation
    half = x.shape[-1] // 2
    wide = ops.cast(x, "float32")
    first, second = wide[..., :half], wide[..., half:]
    turned = ops.concatenate(
        [first * cosines - second * sines, second * cosines + first * sines],
        axis=-1,
    )
    return ops.cast(turned, x.dtype)
