"""Boxes against the rectangles that are found in the pixels."""

import numpy as np
import pytest
from keras import ops

from keras_multi.layers import (
    CutMix,
    MixUp,
    RandAugment,
    RandomErasing,
    RandomFlip,
    RandomResizedCrop,
)
from keras_multi.layers.augmentation import operations, targets, warp
from tests.layers.augmentation.case import COUNT, HEIGHT, WIDTH, chosen_of

GEOMETRIC = {
    "rotate": 0.6,
    "shear_x": -0.4,
    "shear_y": 0.3,
    "translate_x": 9.3,
    "translate_y": -6.8,
}


def rendered(count=COUNT, seed=0):
    """A rectangle in each image, of the image's number plus 1."""
    rng = np.random.default_rng(seed)
    x1 = rng.integers(4, WIDTH // 2, count)
    y1 = rng.integers(4, HEIGHT // 2, count)
    x2 = x1 + rng.integers(8, WIDTH // 2 - 4, count)
    y2 = y1 + rng.integers(8, HEIGHT // 2 - 4, count)
    boxes = np.stack([x1, y1, x2, y2], 1)
    images = np.zeros((count, HEIGHT, WIDTH, 3), "uint8")
    for number, (left, top, right, bottom) in enumerate(boxes):
        images[number, top:bottom, left:right] = number + 1
    padded = np.concatenate([boxes, np.ones_like(boxes)]).reshape(2, -1, 4)
    return {
        "images": images,
        "bounding_boxes": {
            "boxes": padded.transpose(1, 0, 2).astype("float32"),
            "labels": np.stack([np.arange(count) % 7, -np.ones(count)], 1),
        },
    }


def found_box(shown):
    """The smallest box around pixels that are true."""
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def boxes_of(batch):
    boxes = batch["bounding_boxes"]
    return (
        ops.convert_to_numpy(boxes["boxes"]),
        ops.convert_to_numpy(boxes["labels"]),
    )


def check_boxes(batch, value_of, tolerance=1.0, level=0.5):
    """Each box that is left equals what is found, within a pixel."""
    images = ops.convert_to_numpy(ops.cast(batch["images"], "float32"))
    boxes, labels = boxes_of(batch)
    assert (labels[:, 1] == -1).all()
    assert (boxes[labels == -1] == 0).all()
    checked = 0
    for number, (box, label) in enumerate(
        zip(boxes[:, 0], labels[:, 0], strict=True)
    ):
        if label == -1:
            continue
        shown = images[number, ..., 0] >= level * value_of(number)
        np.testing.assert_allclose(box, found_box(shown), atol=tolerance)
        checked += 1
    return checked


@pytest.mark.parametrize("name", list(GEOMETRIC))
def test_boxes_move_with_the_pixels(name):
    batch = rendered(6)
    ids = ops.convert_to_tensor([operations.ID[name]] * 6, "int32")
    signs = ops.convert_to_tensor([1.0, -1.0] * 3)
    chosen = chosen_of(ids, signs * GEOMETRIC[name])
    maps = operations.move_maps(chosen, HEIGHT, WIDTH)
    standard = RandomFlip().standard(
        {
            "images": ops.convert_to_tensor(batch["images"]),
            "bounding_boxes": {
                key: ops.convert_to_tensor(value)
                for key, value in batch["bounding_boxes"].items()
            },
        }
    )
    moved = targets.move(standard, maps, HEIGHT, WIDTH, 0.1)
    moved["images"] = warp.warp_colors(
        standard["images"], maps, "nearest", 0, ops.convert_to_tensor(True)
    )
    assert check_boxes(moved, lambda i: i + 1) == 6


def test_flipped_boxes_are_exact():
    batch = rendered(8)
    found = RandomFlip(0.5, 0.5, seed=1)(batch)
    assert check_boxes(found, lambda i: i + 1, tolerance=1e-3) == 8


def test_cropped_boxes():
    batch = rendered(16)
    batch["images"] = np.where(batch["images"] > 0, 200, 0).astype("uint8")
    layer = RandomResizedCrop(48, 64, scale=(0.2, 0.8), seed=1)
    assert check_boxes(layer(batch), lambda i: 200) >= 10


def test_masks_move_with_the_pixels():
    batch = rendered()
    batch["segmentation_masks"] = batch["images"][..., 0]
    for layer in (RandomFlip(0.5, 0.5, seed=1), RandomErasing(1.0, seed=1)):
        found = layer(batch)
        np.testing.assert_array_equal(
            ops.convert_to_numpy(found["segmentation_masks"]),
            ops.convert_to_numpy(found["images"])[..., 0],
        )


def test_rand_augment_moves_boxes_and_masks():
    batch = rendered()
    batch["images"] = np.where(batch["images"] > 0, 255, 0).astype("uint8")
    batch["segmentation_masks"] = batch["images"][..., 0] // 255
    found = RandAugment(num_ops=1, magnitude=8, seed=3)(batch)
    masks = ops.convert_to_numpy(found["segmentation_masks"])
    boxes, labels = boxes_of(found)
    assert (labels[:, 0] >= 0).sum() >= 30
    for box, label, mask in zip(boxes[:, 0], labels[:, 0], masks, strict=True):
        if label >= 0:
            np.testing.assert_allclose(box, found_box(mask > 0), atol=1)


def test_boxes_nearly_outside_are_dropped():
    batch = rendered(2)
    x1 = batch["bounding_boxes"]["boxes"][:, 0, 0]
    ids = ops.convert_to_tensor([operations.ID["translate_x"]] * 2, "int32")
    widths = batch["bounding_boxes"]["boxes"][:, 0, 2] - x1
    shift = x1 + widths * np.array([0.95, 0.8], "float32")
    chosen = chosen_of(ids, ops.convert_to_tensor(shift))
    maps = operations.move_maps(chosen, HEIGHT, WIDTH)
    standard = {
        "bounding_boxes": {
            "boxes": ops.convert_to_tensor(batch["bounding_boxes"]["boxes"]),
            "labels": ops.convert_to_tensor(
                batch["bounding_boxes"]["labels"].astype("int32")
            ),
        }
    }
    moved = targets.move(standard, maps, HEIGHT, WIDTH, 0.1)
    assert boxes_of(moved)[1].tolist() == [[-1, -1], [1, -1]]


def visible_boxes(image, value):
    shown = image == value
    return found_box(shown) if shown.any() else None


@pytest.mark.parametrize("per_sample", [True, False])
def test_cut_mix_joins_the_boxes_that_can_be_seen(per_sample):
    batch = rendered()
    sizes = (batch["images"][..., 0] > 0).sum((1, 2))
    # A class of its own for each rectangle.
    batch["bounding_boxes"]["labels"][:, 0] = np.arange(COUNT)
    found = CutMix(per_sample=per_sample, seed=2)(batch)
    images = ops.convert_to_numpy(found["images"])[..., 0]
    boxes, labels = boxes_of(found)
    assert boxes.shape == (COUNT, 4, 4)
    kept = pasted = 0
    for number in range(COUNT):
        if number in labels[number, 2:]:
            continue  # its own partner
        for slot in (0, 2):
            label = labels[number, slot]
            if label == -1:
                continue
            shown = images[number] == label + 1
            assert shown.sum() >= 0.1 * sizes[label]
            np.testing.assert_allclose(
                boxes[number, slot], found_box(shown), atol=1e-3
            )
            kept += slot == 0
            pasted += slot == 2
        if number not in labels[number]:
            assert (images[number] == number + 1).sum() < 0.1 * sizes[number]
    assert kept > 3
    assert pasted > 3


def test_mix_up_joins_all_boxes():
    batch = rendered(6)
    boxes, labels = boxes_of(MixUp(alpha=1.0, seed=1)(batch))
    given = batch["bounding_boxes"]
    np.testing.assert_allclose(boxes[:, 0], given["boxes"][:, 0])
    assert sorted(labels[:, 2]) == sorted(given["labels"][:, 0])
    alone = boxes_of(MixUp(probability=0.0)(batch))[1]
    np.testing.assert_array_equal(alone[:, :2], given["labels"])
    assert (alone[:, 2:] == -1).all()


def test_erased_boxes_equal_what_is_left():
    batch = rendered()
    layer = RandomErasing(1.0, scale=(0.1, 0.5), seed=1)
    found = layer(batch)
    images = ops.convert_to_numpy(found["images"])[..., 0]
    boxes, labels = boxes_of(found)
    sizes = (batch["images"][..., 0] > 0).sum((1, 2))
    for number, (box, label) in enumerate(
        zip(boxes[:, 0], labels[:, 0], strict=True)
    ):
        shown = images[number] > 0
        if label == -1:
            assert shown.sum() < 0.1 * sizes[number]
        else:
            np.testing.assert_allclose(box, found_box(shown), atol=1e-3)
    assert (labels[:, 0] >= 0).sum() > 20
