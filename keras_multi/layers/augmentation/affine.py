"""Affine maps, one an image, from a place in the output to one in the input.

A map is a row of six numbers (a, b, c, d, e, f), as in `Image.transform` of
Pillow: output (x, y) shows input (a x + b y + c, d x + e y + f). Places are in
pixels from the corner of the image, so the middle of the first pixel is
(0.5, 0.5).
"""

from typing import Any

from keras import ops

from keras_multi.layers.augmentation.boxes import sides


def compose(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """Stacks six tensors `(batch,)` to maps `(batch, 6)`."""
    return ops.stack([a, b, c, d, e, f], axis=1)


def around_center(
    a: Any, b: Any, d: Any, e: Any, height: int, width: int
) -> Any:
    """Maps with a linear part, `(batch,)` each, that keep the center."""
    x, y = width / 2, height / 2
    return compose(a, b, x - a * x - b * y, d, e, y - d * x - e * y)


def map_boxes(boxes: Any, maps: Any) -> Any:
    """Where boxes of the input lie in the output.

    Args:
        boxes: `(batch, n, 4)` in the input.
        maps: `(batch, 6)`, each invertible.

    Returns:
        `(batch, n, 4)`, the smallest boxes around the images of the corners.
    """
    a, b, c, d, e, f = (maps[:, i, None] for i in range(6))
    x1, y1, x2, y2 = sides(boxes)
    scale = a * e - b * d
    corners = [(x1 - c, y1 - f), (x2 - c, y1 - f)]
    corners += [(x1 - c, y2 - f), (x2 - c, y2 - f)]
    xs = ops.stack([(e * x - b * y) / scale for x, y in corners], axis=-1)
    ys = ops.stack([(a * y - d * x) / scale for x, y in corners], axis=-1)
    return ops.stack(
        [
            ops.amin(xs, axis=-1),
            ops.amin(ys, axis=-1),
            ops.amax(xs, axis=-1),
            ops.amax(ys, axis=-1),
        ],
        axis=-1,
    )
