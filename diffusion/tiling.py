"""Large pictures through a VAE, tile by tile."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

OVERLAP = 4  # the part of a tile, one in so many, that the next one shares


def tiled(
    fn: Callable[[Any], Any], x: Any, tile: int, up: int, down: int = 1
) -> Any:
    """Calls a function with tiles of a picture and blends what it gives.

    Tiles overlap, and fade into each other there. All have the same size, so
    that one program serves them. What the function takes from afar, such as
    the statistics of a normalization, differs from tile to tile.

    Args:
        fn: makes `(B, h * up / down, w * up / down, D)` of `(B, h, w, C)`.
        x: `(B, H, W, C)`.
        tile: side of a tile of `x`, which `down` divides.
        up: factor of the size of the result.
        down: divisor of the size of the result; it divides `H` and `W`.

    Returns:
        float32 `(B, H * up / down, W * up / down, D)`.
    """
    batch, height, width, _ = x.shape
    if height <= tile and width <= tile:
        return fn(x)
    rows, columns = min(tile, height), min(tile, width)
    size = height * up // down, width * up // down
    shares = _fade(rows * up // down)[:, None, None]
    shares = shares * _fade(columns * up // down)[:, None]
    total: Any = None
    weights = np.zeros((*size, 1))
    for top in _starts(height, rows, down):
        for left in _starts(width, columns, down):
            part = fn(x[:, top : top + rows, left : left + columns])
            part = ops.convert_to_numpy(part)
            if total is None:
                total = np.zeros((batch, *size, part.shape[-1]))
            place = (
                slice(top * up // down, (top + rows) * up // down),
                slice(left * up // down, (left + columns) * up // down),
            )
            total[:, *place] += shares * part
            weights[place] += shares
    return ops.convert_to_tensor((total / weights).astype("float32"))


def _starts(length: int, tile: int, multiple: int) -> list[int]:
    """Gives where tiles begin: evenly, the last at the end."""
    step = tile - tile // OVERLAP
    number = 1 + -(-(length - tile) // step)
    ends = np.linspace(0, (length - tile) // multiple, number)
    return [int(i) * multiple for i in ends]


def _fade(length: int) -> np.ndarray:
    """Gives weights that rise at the start and fall at the end of a tile."""
    places = np.arange(length) + 0.5
    return np.minimum(1.0, np.minimum(places, places[::-1]) * OVERLAP / length)
