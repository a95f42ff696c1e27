"""Rectangles in images, `(batch, 4)` as x1, y1, x2, y2 in whole pixels."""

from typing import Any

from keras import ops

from keras_multi.layers.augmentation.boxes import sides


def whole(height: int, width: int) -> Any:
    """The region of an image, `(1, 4)`."""
    return ops.convert_to_tensor([[0.0, 0.0, float(width), float(height)]])


def covered(region: Any, height: int, width: int) -> Any:
    """Which pixels lie in a region: bool `(batch, height, width)`."""
    rows, columns = lines(region, height, width)
    return rows[:, :, None] & columns[:, None, :]


def lines(region: Any, height: int, width: int) -> tuple[Any, Any]:
    """Which rows, bool `(batch, height)`, and columns lie in a region."""
    x1, y1, x2, y2 = sides(region[:, None, :])
    x = ops.arange(width, dtype="float32")[None, :]
    y = ops.arange(height, dtype="float32")[None, :]
    return (y >= y1) & (y < y2), (x >= x1) & (x < x2)


def place(
    share: Any,
    ratio: Any,
    left: Any,
    top: Any,
    height: int,
    width: int,
) -> Any:
    """Rectangles of some area and form, anywhere in the image.

    Sides are rounded, are at least one pixel and at most those of the image.

    Args:
        share: area over that of the image, `(batch,)`.
        ratio: width over height, `(batch,)`.
        left: a draw from [0, 1), `(batch,)`: 0 puts it to the left.
        top: a draw from [0, 1), `(batch,)`: 0 puts it to the top.
        height: of the image.
        width: of the image.
    """
    area = share * (height * width)
    wide = ops.clip(ops.round(ops.sqrt(area * ratio)), 1, width)
    high = ops.clip(ops.round(ops.sqrt(area / ratio)), 1, height)
    x = ops.minimum(ops.floor(left * (width - wide + 1)), width - wide)
    y = ops.minimum(ops.floor(top * (height - high + 1)), height - high)
    return ops.stack([x, y, x + wide, y + high], axis=1)


def between(draw: Any, low: float, high: float) -> Any:
    """Takes a draw from [0, 1) to [low, high)."""
    return low + (high - low) * draw
