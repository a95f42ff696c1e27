"""Boxes and masks that follow the images under affine maps."""

from typing import Any

from keras_multi.layers.augmentation import affine, boxes, regions
from keras_multi.layers.augmentation.base import (
    Batch,
)
from keras_multi.layers.augmentation.warp import warp_classes


def follow(batch: Batch) -> bool:
    """Whether a batch has boxes or masks."""
    return "bounding_boxes" in batch or "segmentation_masks" in batch


def move(
    batch: Batch, maps: Any, height: int, width: int, min_visibility: float
) -> Batch:
    """Moves boxes and masks, where there are any.

    Args:
        batch: in standard form.
        maps: float32 `(batch, 6)`, see `affine`.
        height: of the output.
        width: of the output.
        min_visibility: share of its area that a box must keep.

    Returns:
        The batch with other boxes and masks.
    """
    moved = dict(batch)
    if "segmentation_masks" in batch:
        moved["segmentation_masks"] = warp_classes(
            batch["segmentation_masks"], maps, height, width
        )
    if "bounding_boxes" in batch:
        given = batch["bounding_boxes"]
        mapped = {**given, "boxes": affine.map_boxes(given["boxes"], maps)}
        moved["bounding_boxes"] = boxes.clip(
            mapped, regions.whole(height, width), min_visibility
        )
    return moved
