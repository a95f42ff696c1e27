"""Bounding boxes: x1, y1, x2, y2 in pixels, label -1 where there is none."""

from typing import Any

from keras import ops

NO_BOX = -1

BoundingBoxes = dict[str, Any]


def check(bounding_boxes: Any) -> None:
    """Raises a ValueError if keys or shapes are not those of boxes."""
    if not isinstance(bounding_boxes, dict) or set(bounding_boxes) != {
        "boxes",
        "labels",
    }:
        raise ValueError(
            "'bounding_boxes' must be a dictionary of 'boxes' and 'labels'. "
            f"Received: {bounding_boxes}"
        )
    shape = tuple(bounding_boxes["boxes"].shape)
    labels = tuple(bounding_boxes["labels"].shape)
    if len(shape) != 3 or shape[2] != 4 or labels[1:] != shape[1:2]:
        raise ValueError(
            "Boxes must be (batch, n, 4) and their labels (batch, n). "
            f"Received: shapes={shape} and {labels}"
        )


def standard(bounding_boxes: BoundingBoxes) -> BoundingBoxes:
    """Casts boxes to float32 and labels to int32."""
    return {
        "boxes": ops.cast(bounding_boxes["boxes"], "float32"),
        "labels": ops.cast(bounding_boxes["labels"], "int32"),
    }


def sides(boxes: Any) -> tuple[Any, Any, Any, Any]:
    """Splits `(..., 4)` into x1, y1, x2 and y2."""
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def area(boxes: Any) -> Any:
    """Area of `(..., 4)`; an empty box has none."""
    x1, y1, x2, y2 = sides(boxes)
    return ops.maximum(x2 - x1, 0.0) * ops.maximum(y2 - y1, 0.0)


def intersection(boxes: Any, region: Any) -> Any:
    """The part of boxes `(batch, n, 4)` in a region `(batch, 4)`."""
    x1, y1, x2, y2 = sides(boxes)
    left, top, right, bottom = sides(region[:, None, :])
    return ops.stack(
        [
            ops.maximum(x1, left),
            ops.maximum(y1, top),
            ops.minimum(x2, right),
            ops.minimum(y2, bottom),
        ],
        axis=-1,
    )


def keep_visible(
    boxes: Any, labels: Any, visible: Any, min_visibility: float
) -> BoundingBoxes:
    """Drops boxes of which too little is visible.

    Args:
        boxes: `(batch, n, 4)`.
        labels: `(batch, n)`.
        visible: share of the area that is visible, `(batch, n)`.
        min_visibility: least share; a box that shows nothing is always
            dropped.
    """
    kept = (labels != NO_BOX) & (visible > 0) & (visible >= min_visibility)
    return {
        "boxes": ops.where(kept[:, :, None], boxes, 0.0),
        "labels": ops.where(kept, labels, NO_BOX),
    }


def clip(
    bounding_boxes: BoundingBoxes, region: Any, min_visibility: float
) -> BoundingBoxes:
    """Cuts boxes to a region `(batch, 4)`, and drops those nearly outside."""
    boxes = bounding_boxes["boxes"]
    inside = intersection(boxes, region)
    visible = area(inside) / ops.maximum(area(boxes), 1e-6)
    return keep_visible(
        inside, bounding_boxes["labels"], visible, min_visibility
    )


def hide(
    bounding_boxes: BoundingBoxes, region: Any, min_visibility: float
) -> BoundingBoxes:
    """Takes away what an opaque region `(batch, 4)` covers.

    A box shrinks where the region covers one of its sides from end to end,
    and is dropped where too little of it can be seen.
    """
    boxes = bounding_boxes["boxes"]
    covered = area(intersection(boxes, region))
    visible = 1.0 - covered / ops.maximum(area(boxes), 1e-6)
    x1, y1, x2, y2 = sides(boxes)
    left, top, right, bottom = sides(region[:, None, :])
    across = (left <= x1) & (right >= x2) & (top < bottom)
    along = (top <= y1) & (bottom >= y2) & (left < right)
    rest = ops.stack(
        [
            ops.where(along & (left <= x1), ops.maximum(x1, right), x1),
            ops.where(across & (top <= y1), ops.maximum(y1, bottom), y1),
            ops.where(along & (right >= x2), ops.minimum(x2, left), x2),
            ops.where(across & (bottom >= y2), ops.minimum(y2, top), y2),
        ],
        axis=-1,
    )
    return keep_visible(rest, bounding_boxes["labels"], visible, min_visibility)


def join(one: BoundingBoxes, other: BoundingBoxes) -> BoundingBoxes:
    """The boxes of two batches, `(batch, n + m, 4)`."""
    return {key: ops.concatenate([one[key], other[key]], axis=1) for key in one}


def select(bounding_boxes: BoundingBoxes, rows: Any) -> BoundingBoxes:
    """The boxes of some images."""
    return {
        key: ops.take(value, rows, axis=0)
        for key, value in bounding_boxes.items()
    }
