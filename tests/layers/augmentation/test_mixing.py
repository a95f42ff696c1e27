"""CutMix and MixUp: labels against counted pixels, lambda against Beta."""

import numpy as np
import pytest
from keras import ops
from scipy import stats

from keras_multi.layers import CutMix, CutMixOrMixUp, MixUp
from keras_multi.layers.augmentation.beta import symmetric_beta


def flat_images(count, height, width, channels=3):
    """Each image has one value: its number."""
    numbers = np.arange(count, dtype="uint8").reshape(-1, 1, 1, 1)
    return np.broadcast_to(numbers, (count, height, width, channels)).copy()


def counted_shares(images, num_classes):
    """Share of the pixels that come from each image."""
    return np.stack(
        [np.bincount(i[..., 0].ravel(), minlength=num_classes) for i in images]
    ) / np.prod(images.shape[1:3])


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 9)])
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_cut_mix_labels_are_the_shares_of_the_pixels(size, per_sample, alpha):
    layer = CutMix(alpha, num_classes=20, per_sample=per_sample, seed=2)
    images = flat_images(20, *size)
    for labels in (np.arange(20), np.eye(20, dtype="float32")):
        batch = layer({"images": images, "labels": labels})
        found = ops.convert_to_numpy(batch["images"])
        np.testing.assert_allclose(
            ops.convert_to_numpy(batch["labels"]),
            counted_shares(found, 20),
            atol=1e-6,
        )


def test_cut_mix_labels_are_exact_over_10000_draws():
    classes = np.arange(10_000) % 10
    images = np.ones((10_000, 8, 8, 1), "uint8")
    images *= classes.astype("uint8")[:, None, None, None]
    batch = {"images": images, "labels": classes}
    found = CutMix(num_classes=10, seed=3)(batch)
    pixels = ops.convert_to_numpy(found["images"])
    counted = (pixels == np.arange(10)).mean((1, 2))
    labels = ops.convert_to_numpy(found["labels"])
    np.testing.assert_array_equal(np.round(labels * 64), counted * 64)
    np.testing.assert_allclose(labels, counted, atol=1e-6)
    assert (counted.max(1) < 1).mean() > 0.5


def test_cut_mix_cuts_rectangles_of_the_size_of_the_paper():
    layer = CutMix(seed=1)
    draws = layer.draw(3000)["mixture"]
    mixture = layer.mixture(draws, 400, 300)
    x1, y1, x2, y2 = ops.convert_to_numpy(mixture.region).T
    share = 1 - ops.convert_to_numpy(symmetric_beta(draws[0], draws[1], 1.0))
    whole = (x1 > 0) & (x2 < 300) & (y1 > 0) & (y2 < 400)
    assert whole.sum() > 100
    np.testing.assert_allclose(
        (x2 - x1)[whole], np.sqrt(share[whole]) * 300, atol=2
    )
    np.testing.assert_allclose(
        (y2 - y1)[whole], np.sqrt(share[whole]) * 400, atol=2
    )


def test_mix_up_blends_images_and_labels_alike():
    layer = MixUp(alpha=1.0, seed=1)
    images = np.random.default_rng(0).uniform(0, 255, (6, 4, 5, 3))
    batch = {"images": images.astype("float32"), "labels": np.eye(6)}
    found = layer(batch)
    labels = ops.convert_to_numpy(found["labels"])
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    assert ((labels > 0).sum(1) == 2).any()
    np.testing.assert_allclose(
        ops.convert_to_numpy(found["images"]),
        np.einsum("ij,jhwc->ihwc", labels, images),
        rtol=1e-4,
        atol=1e-3,
    )


def test_mix_up_rounds_bytes():
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3))
    labels = np.eye(6, dtype="float32")
    exact, rounded = (
        MixUp(1.0, seed=1)({"images": images.astype(t), "labels": labels})
        for t in ("float32", "uint8")
    )
    difference = ops.convert_to_numpy(exact["images"]) - ops.convert_to_numpy(
        ops.cast(rounded["images"], "float32")
    )
    assert np.abs(difference).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.5])
def test_lambda_has_the_beta_distribution(alpha):
    u, v = np.random.default_rng(1).random((2, 4000), dtype="float32")
    drawn = ops.convert_to_numpy(
        symmetric_beta(
            ops.convert_to_tensor(u), ops.convert_to_tensor(v), alpha
        )
    )
    assert np.isfinite(drawn).all()
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_lambda_is_finite_at_the_ends_of_the_draws():
    ends = np.array([0, 0, 0.9999999, 0.9999999, 0.5], "float32")
    turns = np.array([0, 0.25, 0, 0.25, 0.9999999], "float32")
    for alpha in (0.01, 0.2, 1.0, 100.0):
        drawn = ops.convert_to_numpy(
            symmetric_beta(
                ops.convert_to_tensor(ends), ops.convert_to_tensor(turns), alpha
            )
        )
        assert ((drawn >= 0) & (drawn <= 1)).all()


def test_layers_draw_lambda_from_the_beta_distribution():
    layer = MixUp(alpha=0.2, seed=3)
    weight = layer.mixture(layer.draw(4000)["mixture"], 8, 8).weight
    drawn = ops.convert_to_numpy(weight)
    assert stats.kstest(drawn, stats.beta(0.2, 0.2).cdf).pvalue > 1e-3


def test_partners_are_a_permutation():
    layer = CutMix(num_classes=50, seed=1)
    partner = ops.argsort(layer.draw(50)["partner"])
    found = np.sort(ops.convert_to_numpy(partner))
    np.testing.assert_array_equal(found, np.arange(50))


@pytest.mark.slow
@pytest.mark.parametrize("per_sample", [True, False])
def test_switches_between_cut_mix_mix_up_and_nothing(per_sample):
    layer = CutMixOrMixUp(
        mix_up_alpha=1.0,
        switch_probability=0.25,
        probability=0.6,
        per_sample=per_sample,
        seed=1,
    )
    cut = blended = nothing = 0
    for _ in range(1 if per_sample else 600):
        draws = layer.draw(600)["mixture"]
        mixture = layer.mixture(draws, 64, 64)
        share, weight = (
            ops.convert_to_numpy(x) for x in (mixture.share, mixture.weight)
        )
        cut += ((share < 1) & (weight == 1)).sum()
        blended += (weight < 1).sum()
        nothing += (share == 1).sum()
    assert stats.binomtest(int(nothing), 600, 0.4).pvalue > 1e-3 or (
        nothing > 240  # a rectangle may be empty, or outside
    )
    assert stats.binomtest(int(blended), 600, 0.45).pvalue > 1e-3
    assert cut + blended + nothing == 600


def test_switching_keeps_labels_equal_to_the_pixels():
    layer = CutMixOrMixUp(
        num_classes=12, mix_up_alpha=1.0, probability=0.8, seed=4
    )
    images = np.zeros((12, 6, 6, 12), "float32")
    images[np.arange(12), :, :, np.arange(12)] = 1.0
    batch = layer({"images": images, "labels": np.arange(12)})
    np.testing.assert_allclose(
        ops.convert_to_numpy(batch["images"]).mean((1, 2)),
        ops.convert_to_numpy(batch["labels"]),
        atol=1e-5,
    )


def test_labels_are_smoothed_as_keras_does():
    labels = np.arange(4)
    layer = MixUp(num_classes=4, label_smoothing=0.1, probability=0.0)
    found = layer({"images": flat_images(4, 2, 2), "labels": labels})
    expected = np.eye(4) * 0.9 + 0.1 / 4
    np.testing.assert_allclose(
        ops.convert_to_numpy(found["labels"]), expected, rtol=1e-6
    )


def test_a_batch_of_one_is_mixed_with_itself():
    for layer in (CutMix(num_classes=3), MixUp(num_classes=3)):
        batch = {"images": flat_images(1, 4, 4) + 7, "labels": np.array([2])}
        found = layer(batch)
        assert (ops.convert_to_numpy(found["images"]) == 7).all()
        np.testing.assert_allclose(
            ops.convert_to_numpy(found["labels"]), [[0, 0, 1]], atol=1e-6
        )


def test_labels_out_of_range_count_for_no_class():
    layer = CutMix(num_classes=3, probability=0.0)
    labels = np.array([-1, 1, 3])
    found = layer({"images": flat_images(3, 4, 4), "labels": labels})
    np.testing.assert_array_equal(
        ops.convert_to_numpy(found["labels"]),
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    )


@pytest.mark.slow
def test_says_what_is_wrong_with_labels():
    images = flat_images(2, 4, 4)
    with pytest.raises(ValueError, match="num_classes"):
        CutMix()({"images": images, "labels": np.array([0, 1])})
    with pytest.raises(ValueError, match="num_classes"):
        CutMix(num_classes=3)({"images": images, "labels": np.eye(2)})


def test_masks_follow_the_pixels():
    images = flat_images(10, 8, 8)
    batch = {"images": images, "segmentation_masks": images[..., 0]}
    found = CutMix(seed=1)(batch)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(found["segmentation_masks"]),
        ops.convert_to_numpy(found["images"])[..., 0],
    )
    labels = np.arange(10)
    blended = MixUp(num_classes=10, seed=1)({**batch, "labels": labels})
    larger = ops.convert_to_numpy(blended["labels"]).argmax(1)
    masks = ops.convert_to_numpy(blended["segmentation_masks"])
    np.testing.assert_array_equal(masks[:, 0, 0], larger)
