"""What all augmentation layers have in common."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import layers
from tests.layers.augmentation.case import (
    as_numpy,
    check_augmentation,
    check_equal,
    everything,
    photographs,
)

MAKERS = {
    "CutMix": lambda **k: layers.CutMix(num_classes=5, **k),
    "MixUp": lambda **k: layers.MixUp(num_classes=5, **k),
    "CutMixOrMixUp": lambda **k: layers.CutMixOrMixUp(
        num_classes=5, probability=0.8, **k
    ),
    "RandAugment": lambda **k: layers.RandAugment(
        num_ops=1, magnitude_std=0.5, **k
    ),
    "RandAugment bilinear": lambda **k: layers.RandAugment(
        num_ops=1, interpolation="bilinear", **k
    ),
    "TrivialAugment": layers.TrivialAugment,
    "RandomErasing": lambda **k: layers.RandomErasing(0.7, **k),
    "RandomFlip": lambda **k: layers.RandomFlip(0.5, 0.5, **k),
    "RandomResizedCrop": lambda **k: layers.RandomResizedCrop(16, 20, **k),
    "ColorJitter": lambda **k: layers.ColorJitter(0.4, 0.4, 0.4, 0.1, **k),
    "Pipeline": lambda **k: layers.Pipeline(
        [layers.RandomFlip(), layers.CutMix(num_classes=5)], **k
    ),
}
RANDOM = list(MAKERS)


@pytest.mark.parametrize("name", RANDOM)
def test_holds_what_every_augmentation_holds(name, tmp_path):
    check_augmentation(MAKERS[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    # The others have the code of RandAugment.
    [n for n in RANDOM if n not in ("RandAugment bilinear", "TrivialAugment")],
)
def test_takes_a_batch_of_one(name):
    output = as_numpy(MAKERS[name](seed=3)(everything(1), training=True))
    assert output["images"].shape[0] == 1


@pytest.mark.parametrize(
    "name", [name for name in RANDOM if name != "RandomResizedCrop"]
)
def test_does_nothing_outside_of_training(name):
    batch = everything(4)
    check_equal(as_numpy(MAKERS[name]()(batch, training=False)), batch)


@pytest.mark.parametrize("name", RANDOM)
def test_draws_anew_each_time(name):
    images = photographs()
    layer = MAKERS[name](seed=1)
    first, second = (ops.convert_to_numpy(layer(images)) for _ in range(2))
    assert (first != second).any()


def test_trains_in_a_model_with_a_partial_batch():
    model = keras.Sequential(
        [
            layers.Pipeline(
                [
                    layers.RandAugment(num_ops=1),
                    layers.RandomResizedCrop(16, 16),
                    layers.Normalize(),
                ],
                seed=1,
            ),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    history = model.fit(
        photographs(11), np.zeros((11, 1)), batch_size=4, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()


def test_a_pipeline_has_one_seed_and_different_draws():
    def make(seed):
        return layers.Pipeline(
            [layers.RandomFlip(), layers.RandomFlip()], seed=seed
        )

    pipeline = make(1)
    assert len({layer.seed for layer in pipeline.layers}) == 2
    images = photographs(8)
    one, same, other = (
        ops.convert_to_numpy(make(seed)(images)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.pop("images"),
        lambda b: b.update(names=np.zeros(4)),
        lambda b: b.update(images=b["images"][0]),
        lambda b: b.update(images=b["images"].astype("int32")),
        lambda b: b.update(labels=np.zeros(3, int)),
        lambda b: b.update(labels=np.zeros((4, 1, 1))),
        lambda b: b.update(segmentation_masks=np.zeros((4, 5, 5), int)),
        lambda b: b.update(bounding_boxes=np.zeros((4, 3, 4))),
        lambda b: b["bounding_boxes"].update(labels=np.zeros((4, 2), int)),
        lambda b: b["bounding_boxes"].update(boxes=np.zeros((4, 3, 5))),
    ],
)
def test_says_what_is_wrong_with_a_batch(change):
    batch = everything(4)
    change(batch)
    with pytest.raises(ValueError, match="Received: "):
        layers.RandomFlip()(batch)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (layers.RandomFlip, {"horizontal": 1.5}),
        (layers.RandomFlip, {"min_visibility": -0.1}),
        (layers.RandomFlip, {"data_format": "rows_first"}),
        (layers.CutMix, {"alpha": 0.0}),
        (layers.CutMix, {"num_classes": 0}),
        (layers.MixUp, {"label_smoothing": 2.0}),
        (layers.CutMixOrMixUp, {"switch_probability": 2.0}),
        (layers.RandAugment, {"magnitude": 11}),
        (layers.RandAugment, {"magnitude_std": -1}),
        (layers.RandAugment, {"num_ops": -1}),
        (layers.RandAugment, {"interpolation": "cubic"}),
        (layers.RandAugment, {"value_range": (1, 0)}),
        (layers.RandAugment, {"fill_level": 256}),
        (layers.RandomErasing, {"scale": (0.5, 0.1)}),
        (layers.RandomResizedCrop, {"height": 0, "width": 8}),
        (layers.ColorJitter, {"hue": 0.6}),
        (layers.ColorJitter, {"contrast": -1.0}),
        (layers.Normalize, {"std": (0.0, 1.0, 1.0)}),
        (layers.Pipeline, {"layers": [keras.layers.Dense(1)]}),
    ],
)
def test_says_which_argument_is_wrong(make, options):
    with pytest.raises(ValueError, match="Received: "):
        make(**options)


@pytest.mark.parametrize(
    "layer",
    [layers.RandAugment(), layers.ColorJitter(0.1), layers.Normalize()],
)
def test_colors_need_three_channels(layer):
    with pytest.raises(ValueError, match="channels"):
        layer(np.zeros((2, 8, 8, 1), "uint8"))


def test_normalize_equals_numpy_in_training_and_outside():
    images = photographs(3)
    layer = layers.Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    expected = (images / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    for training in (False, True):
        found = ops.convert_to_numpy(layer(images, training=training))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    floats = layers.Normalize(value_range=(-1, 1))(images / 127.5 - 1)
    np.testing.assert_allclose(
        ops.convert_to_numpy(floats),
        ops.convert_to_numpy(layers.Normalize()(images)),
        rtol=1e-4,
        atol=1e-4,
    )
