"""Crops, colors and erased rectangles against Pillow and others."""

import numpy as np
import pytest
from keras import ops
from matplotlib import colors
from PIL import Image, ImageEnhance
from scipy import stats

from keras_multi.layers import ColorJitter, RandomErasing, RandomResizedCrop
from keras_multi.layers.augmentation.color_jitter import turn_hue
from keras_multi.layers.augmentation.random_resized_crop import resize
from tests.layers.augmentation.case import photographs


@pytest.mark.parametrize("size", [(9, 7), (24, 32), (50, 41)])
def test_resized_crops_equal_pillow(size):
    images = photographs(4)
    regions = np.array(
        [[0, 0, 32, 24], [3, 5, 30, 20], [7, 1, 12, 24], [31, 23, 32, 24]],
        "float32",
    )
    found = ops.convert_to_numpy(
        resize(
            ops.convert_to_tensor(images),
            ops.convert_to_tensor(regions),
            *size,
        )
    )
    for image, region, ours in zip(images, regions, found, strict=True):
        piece = Image.fromarray(image).crop(tuple(region.astype(int)))
        theirs = piece.resize(size[::-1], Image.Resampling.BILINEAR)
        difference = np.abs(np.asarray(theirs).astype(float) - ours)
        assert (difference <= 1.01).mean() >= 0.99


def test_crops_have_the_areas_and_ratios_asked_for():
    layer = RandomResizedCrop(8, 8, scale=(0.1, 0.4), ratio=(0.5, 2), seed=1)
    rows, columns = np.mgrid[:200, :200].astype("float32")
    images = np.stack([rows, columns], -1)[None].repeat(300, 0)
    found = ops.convert_to_numpy(layer(images)) / 200
    # From the second pixel to the last but one are 5 of 8 steps.
    sides = (found[:, -2, -2] - found[:, 1, 1]) * 8 / 5
    area = sides.prod(1)
    ratio = np.log(sides[:, 1] / sides[:, 0])
    uniform = stats.uniform
    assert stats.kstest(area, uniform(0.1, 0.3).cdf).pvalue > 1e-3
    assert (
        stats.kstest(ratio, uniform(-np.log(2), 2 * np.log(2)).cdf).pvalue
        > 1e-3
    )


def test_outside_of_training_the_whole_image_is_resized():
    images = photographs(3)
    layer = RandomResizedCrop(12, 10)
    found = ops.convert_to_numpy(layer(images, training=False))
    for image, ours in zip(images, found, strict=True):
        theirs = Image.fromarray(image).resize(
            (10, 12), Image.Resampling.BILINEAR
        )
        assert np.abs(np.asarray(theirs).astype(int) - ours).max() <= 1


@pytest.mark.slow
def test_small_images_are_enlarged():
    images = np.full((2, 1, 3, 3), 9, "uint8")
    found = ops.convert_to_numpy(RandomResizedCrop(8, 8)(images))
    assert found.shape == (2, 8, 8, 3)
    assert (found == 9).all()


@pytest.mark.parametrize(
    ("kind", "index", "enhancer"),
    [
        ("brightness", 0, ImageEnhance.Brightness),
        ("contrast", 1, ImageEnhance.Contrast),
        ("saturation", 2, ImageEnhance.Color),
    ],
)
def test_factors_equal_pillow(kind, index, enhancer):
    images = photographs(3)
    layer = ColorJitter(**{kind: 0.8})
    draws = np.full((4, 3), 0.5, "float32")
    draws[index] = [0.0, 0.4, 0.9]
    batch = {"images": ops.convert_to_tensor(images)}
    found = layer.transform(batch, ops.convert_to_tensor(draws))["images"]
    for image, draw, ours in zip(
        images, draws[index], ops.convert_to_numpy(found), strict=True
    ):
        factor = 0.2 + 1.6 * float(draw)
        theirs = enhancer(Image.fromarray(image)).enhance(factor)
        difference = np.abs(np.asarray(theirs).astype(int) - ours)
        assert (difference <= 1).mean() >= 0.99


def test_hue_equals_matplotlib():
    images = (photographs(4) / 255).astype("float32")
    turns = np.array([0.0, 0.1, -0.4, 0.5], "float32")
    found = turn_hue(
        ops.convert_to_tensor(images), ops.convert_to_tensor(turns)
    )
    hsv = colors.rgb_to_hsv(images)
    hsv[..., 0] = (hsv[..., 0] + turns[:, None, None]) % 1
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), colors.hsv_to_rgb(hsv), atol=1e-5
    )


def test_no_jitter_changes_nothing():
    images = photographs(3)
    found = ops.convert_to_numpy(ColorJitter()(images))
    np.testing.assert_array_equal(found, images)


def test_erased_rectangles_have_the_areas_asked_for():
    layer = RandomErasing(
        0.6, scale=(0.1, 0.2), ratio=(1, 1), fill_value=5, seed=1
    )
    images = np.zeros((400, 60, 60, 1), "float32")
    found = ops.convert_to_numpy(layer(images))[..., 0]
    assert set(np.unique(found)) == {0, 5}
    share = (found == 5).mean((1, 2))
    erased = share > 0
    assert stats.binomtest(int(erased.sum()), 400, 0.6).pvalue > 1e-3
    # Sides are rounded: k stands for all areas from (k - 1/2)^2 to (k + 1/2)^2.
    sides = np.round(np.sqrt(share[erased] * 60**2)).astype(int)
    edges = np.clip((np.arange(19, 29) - 0.5) ** 2 / 60**2, 0.1, 0.2)
    expected = np.diff(edges) / 0.1 * erased.sum()
    assert set(sides) <= set(range(19, 28))
    counts = np.bincount(sides, minlength=28)[19:]
    assert stats.chisquare(counts, expected).pvalue > 1e-3
