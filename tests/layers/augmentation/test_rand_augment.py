"""Each operation against Pillow, and how operations are drawn."""

import numpy as np
import pytest
from keras import ops
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from keras_multi.layers import RandAugment, TrivialAugment
from keras_multi.layers.augmentation import deal, operations, warp
from tests.layers.augmentation.case import (
    COUNT,
    HEIGHT,
    WIDTH,
    chosen_of,
    photographs,
)

NAMES = operations.NAMES
PER_OPERATION = COUNT // len(NAMES)
# By operation, one for each image that undergoes it.
AMOUNTS = {
    "posterize": (0, 3, 6),
    "solarize": (0, 100, 256),
    "brightness": (0.9, -0.9, 0.31),
    "contrast": (0.9, -0.9, 0.31),
    "color": (0.9, -0.9, 0.31),
    "sharpness": (0.9, -0.9, 0.31),
    "rotate": (0.5, -0.5, 2.3),
    "shear_x": (0.3, -0.3, 0.99),
    "shear_y": (0.3, -0.3, 0.99),
    "translate_x": (7.4, -7.4, 0.2),
    "translate_y": (7.4, -7.4, 0.2),
}
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
}


def pillow(image, name, amount, interpolation):
    def transformed(*data):
        return image.transform(
            image.size, Image.Transform.AFFINE, data, RESAMPLING[interpolation]
        )

    def enhanced(kind):
        return kind(image).enhance(1 + amount)

    return {
        "identity": lambda: image,
        "auto_contrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "posterize": lambda: ImageOps.posterize(image, 8 - int(amount)),
        "solarize": lambda: ImageOps.solarize(image, 256 - int(amount)),
        "brightness": lambda: enhanced(ImageEnhance.Brightness),
        "contrast": lambda: enhanced(ImageEnhance.Contrast),
        "color": lambda: enhanced(ImageEnhance.Color),
        "sharpness": lambda: enhanced(ImageEnhance.Sharpness),
        "rotate": lambda: image.rotate(
            np.degrees(amount), RESAMPLING[interpolation]
        ),
        "shear_x": lambda: transformed(1, amount, 0, 0, 1, 0),
        "shear_y": lambda: transformed(1, 0, 0, amount, 1, 0),
        "translate_x": lambda: transformed(1, 0, amount, 0, 1, 0),
        "translate_y": lambda: transformed(1, 0, 0, 0, 1, amount),
    }[name]()


def run_each(interpolation):
    """All operations on `PER_OPERATION` images each, in a mixed order."""
    images = photographs()
    images[0] = 77  # of one level, for auto contrast and equalize
    order = np.random.default_rng(0).permutation(COUNT).astype("int32")
    ids = np.arange(COUNT, dtype="int32") // PER_OPERATION
    amounts = [
        AMOUNTS.get(NAMES[j], (0,) * PER_OPERATION)[k]
        for j in range(len(NAMES))
        for k in range(PER_OPERATION)
    ]
    order[[0, int(np.flatnonzero(order == 0)[0])]] = [0, order[0]]
    found = operations.run(
        ops.convert_to_tensor(images),
        deal.Deal(ops.convert_to_tensor(order), ops.convert_to_tensor(ids)),
        chosen_of(
            ops.convert_to_tensor(ids),
            ops.convert_to_tensor(amounts, "float32"),
        ),
        interpolation,
        0,
        ops.convert_to_tensor(True),
    )
    found = ops.convert_to_numpy(found)
    return [
        (NAMES[ids[place]], amounts[place], images[row], found[row])
        for place, row in enumerate(order)
    ]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_each_operation_equals_pillow(interpolation):
    seen = []
    for name, amount, image, found in run_each(interpolation):
        theirs = pillow(Image.fromarray(image), name, amount, interpolation)
        difference = np.abs(np.asarray(theirs).astype(int) - found)
        assert (difference <= 1).mean() >= 0.99, (name, amount)
        seen.append(name)
    assert set(seen) == set(NAMES)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_one_level_stays(value):
    images = ops.convert_to_tensor(
        np.full((COUNT, HEIGHT, WIDTH, 3), value, "uint8")
    )
    order = ops.arange(COUNT, dtype="int32")
    ids = order // PER_OPERATION
    found = operations.run(
        ops.convert_to_tensor(images),
        deal.Deal(order, ids),
        chosen_of(ids, ops.zeros((COUNT,))),
        "nearest",
        0,
        ops.convert_to_tensor(True),
    )
    assert (ops.convert_to_numpy(found) == value).all()


def test_magnitude_0_changes_nothing_but_the_histogram_operations():
    images = photographs()
    layer = RandAugment(num_ops=1, magnitude=0, seed=2)
    found = ops.convert_to_numpy(layer(images))
    changed = (found != images).any(axis=(1, 2, 3))
    # Two of fourteen: auto contrast and equalize.
    assert changed.sum() <= 2 * PER_OPERATION


def test_fills_with_the_level_asked_for():
    images = ops.zeros((1, 8, 8, 3), dtype="uint8")
    maps = ops.convert_to_tensor([[1.0, 0.0, 4.0, 0.0, 1.0, 0.0]])
    found = warp.warp_colors(
        images, maps, "nearest", 128, ops.convert_to_tensor(True)
    )
    found = ops.convert_to_numpy(found)
    assert (found[:, :, :4] == 0).all()
    assert (found[:, :, 4:] == 128).all()


@pytest.mark.parametrize("batch", [1, 2, 3, 10, 14, 64])
def test_each_operation_has_the_same_probability_for_each_image(batch):
    """Counted over all offsets and places, since a permutation is uniform."""
    parts = len(NAMES) * deal.OFFSETS_PER_OPERATION
    dealt = [
        deal.deal(ops.zeros((batch,)), offset, len(NAMES)).operations
        for offset in (np.arange(0, parts, 7) + 0.5) / parts
    ]
    exact = deal.OFFSETS_PER_OPERATION * batch
    every = np.arange(parts * batch) * len(NAMES) // (parts * batch)
    assert (np.bincount(every) == exact).all()
    for operations_, cut in zip(dealt, range(0, parts, 7), strict=True):
        expected = every[cut::parts]
        np.testing.assert_array_equal(
            ops.convert_to_numpy(operations_), expected
        )
        for first in range(len(NAMES)):
            span = deal.places((first, first + 1), len(NAMES), batch)
            places = np.flatnonzero(expected == first)
            assert ((span.start <= places) & (places < span.stop)).all()


def test_operations_are_uniform_by_chi_square():
    layer = RandAugment(seed=5)
    counts = np.zeros((2, 14))
    for _ in range(150):
        uniform = layer.draw(8)["uniform"]
        for step in range(2):
            dealt = deal.deal(uniform[step, 0], uniform[step, 3, 0], 14)
            mine = ops.convert_to_numpy(dealt.by_image(dealt.operations))[0]
            counts[step, mine] += 1
    for row in counts:
        assert stats.chisquare(row).pvalue > 1e-3


def test_images_of_a_batch_undergo_different_operations():
    images = np.repeat(photographs(1), COUNT, axis=0)
    found = ops.convert_to_numpy(RandAugment(seed=1)(images))
    assert len({image.tobytes() for image in found}) > 20


def test_strength_is_normal_around_the_magnitude():
    layer = RandAugment(magnitude=5, magnitude_std=1, seed=1)
    drawn = ops.convert_to_numpy(layer.draw_strength(2, 2000)).ravel()
    assert stats.kstest(drawn, stats.norm(0.5, 0.1).cdf).pvalue > 1e-3
    fixed = ops.convert_to_numpy(RandAugment(magnitude=9).draw_strength(3))
    np.testing.assert_allclose(fixed, 0.9, rtol=1e-6)


def test_trivial_augment_has_31_strengths():
    drawn = TrivialAugment(seed=1).draw_strength(3000)
    levels = np.round(ops.convert_to_numpy(drawn) * 30, 4)
    values, counts = np.unique(levels, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(31))
    assert stats.chisquare(counts).pvalue > 1e-3


def test_operations_happen_with_the_probability():
    images = photographs()
    never = RandAugment(probability=0.0, seed=1)(images)
    np.testing.assert_array_equal(ops.convert_to_numpy(never), images)


def test_reads_an_option_string():
    layer = RandAugment.from_string("rand-m7-n3-mstd0.5-p0.6-inc1", seed=4)
    assert (layer.magnitude, layer.num_ops) == (7, 3)
    assert (layer.magnitude_std, layer.probability) == (0.5, 0.6)
    assert layer.seed == 4
    for wrong in ("auto-m7", "rand-m", "rand-x3", "rand-m7n2", ""):
        with pytest.raises(ValueError, match="Received: "):
            RandAugment.from_string(wrong)


def test_floats_and_bytes_give_the_same():
    images = photographs()
    expected = ops.convert_to_numpy(RandAugment(seed=1)(images)) / 255
    layer = RandAugment(value_range=(0, 1), seed=1)
    found = layer((images / 255).astype("float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-6)


def test_nan_becomes_the_lowest_value():
    images = np.full((COUNT, HEIGHT, WIDTH, 3), np.nan, "float32")
    layer = RandAugment(value_range=(0, 1), magnitude=0, seed=1)
    assert (ops.convert_to_numpy(layer(images)) == 0).all()


def test_bytes_have_one_range_and_images_a_largest_size():
    with pytest.raises(ValueError, match="Received: value_range"):
        RandAugment(value_range=(0, 1))(photographs(2))
    with pytest.raises(ValueError, match="Received: height"):
        RandAugment()(np.zeros((1, 5000, 1, 3), "uint8"))
