import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi.errors import DataError, UsageError
from vision import Classifier, optimizers
from vision.backbones import ResNet

from .classifier_case import IMAGES, LABELS, NAMES, fill, make_model, train


def logits(model, images=IMAGES):
    return ops.convert_to_numpy(model(images))


def backbone_weights(model):
    return {w.path: ops.convert_to_numpy(w) for w in model.backbone.weights}


def changed(before, after):
    return {p for p in before if not np.array_equal(before[p], after[p])}


def kinds(paths):
    return {path.rpartition("/")[2] for path in paths}


def test_logits_are_a_dense_layer_of_the_mean():
    model = make_model()
    features = ops.convert_to_numpy(model.backbone(IMAGES))
    kernel, bias = model.head.get_weights()
    expected = features.mean(axis=(1, 2)) @ kernel + bias
    np.testing.assert_allclose(logits(model), expected, rtol=1e-5)


def test_logits_are_float32_under_mixed_precision():
    model = Classifier(ResNet((1,), (4,), dtype="mixed_bfloat16"), 3)
    assert model.backbone.layers[2].compute_dtype == "bfloat16"
    assert keras.backend.standardize_dtype(model(IMAGES).dtype) == "float32"


@pytest.mark.parametrize("frozen", [False, True])
def test_a_saved_classifier_is_the_same(frozen, tmp_path):
    model = make_model(dropout=0.5)
    if frozen:
        model.unfreeze(last=3)
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = Classifier.from_preset(path)
    np.testing.assert_array_equal(logits(loaded), logits(model))
    assert loaded.class_names == NAMES
    assert (loaded.image_size, loaded.dropout) == (8, 0.5)
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    assert Classifier.from_preset(str(tmp_path)).class_names == NAMES


@pytest.mark.slow
def test_tuning_trains_the_head_and_then_the_backbone(tmp_path):
    model = make_model()
    model.save(tmp_path / "model.keras")
    model = Classifier.from_preset(
        str(tmp_path), 2, class_names=("wild", "tame"), dropout=0.0
    )
    assert model.num_classes == 2
    assert model.image_size == 8
    labels = LABELS % 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def fit():
        before = backbone_weights(model)
        model.compile(keras.optimizers.SGD(0.1), loss)
        model.fit(IMAGES, labels, batch_size=6, verbose=0)
        return kinds(changed(before, backbone_weights(model)))

    head = model.head.get_weights()[0]
    assert fit() == set()
    assert not np.array_equal(model.head.get_weights()[0], head)
    model.unfreeze()
    assert fit() == {"kernel"}
    model.unfreeze(batch_norm=True)
    assert fit() == {
        "kernel",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    }


def test_the_last_layers_can_be_unfrozen_alone():
    model = make_model()
    model.unfreeze(last=3)  # norm, addition, activation
    assert [v.path for v in model.trainable_variables] == [
        v.path for v in model.head.trainable_variables
    ]
    model.unfreeze(last=4, batch_norm=True)
    assert len(model.trainable_variables) == 5
    model.unfreeze(last=1000, batch_norm=True)
    assert len(model.trainable_variables) == 11


def test_rates_rise_from_layer_to_layer():
    model = make_model()
    rates = model.layer_rates(first=0.01)
    assert len(rates) == len(model.backbone.trainable_variables) == 9
    # three convolutions and their norms
    expected = [0.01 ** (1 - i / 6) for i in (0, 1, 1, 2, 3, 3, 4, 5, 5)]
    np.testing.assert_allclose(list(rates.values()), expected)
    model.backbone.trainable = False
    assert model.layer_rates() == {}


def numpy_adamw(weight, gradients, rate, decay):
    """Algorithm 2 of Loshchilov and Hutter 2019."""
    m = v = np.zeros_like(weight)
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        weight = weight - rate * (step + decay * weight)
    return weight


def numpy_sgd(weight, gradients, rate, decay):
    velocity = np.zeros_like(weight)
    for g in gradients:
        velocity = 0.9 * velocity + g
        weight = weight * (1 - rate * decay) - rate * velocity
    return weight


@pytest.mark.parametrize(
    ("make", "oracle"),
    [
        (lambda **kw: optimizers.AdamW(0.1, **kw), numpy_adamw),
        (lambda **kw: optimizers.SGD(0.1, momentum=0.9, **kw), numpy_sgd),
    ],
)
def test_each_variable_has_its_rate(make, oracle):
    start = np.array([1.0, -2.0, 3.0])
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(4, 3))
    variables = [
        keras.Variable(start.astype("float32"), name=name) for name in "ab"
    ]
    optimizer = make(weight_decay=0.04, layer_rates={variables[0].path: 0.25})
    for gradient in gradients:
        tensor = ops.convert_to_tensor(gradient.astype("float32"))
        optimizer.apply([tensor, tensor], variables)
    for variable, rate in zip(variables, (0.025, 0.1), strict=True):
        expected = oracle(start, gradients, rate, 0.04)
        got = ops.convert_to_numpy(variable)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_rates_hold_in_training_and_are_saved(tmp_path):
    moved = []
    for rates in ({}, None):
        model = make_model(dropout=0.0)
        if rates is None:
            rates = dict.fromkeys(model.layer_rates(), 0.5)
        before = backbone_weights(model)
        train(model, optimizers.SGD(0.1, layer_rates=rates))
        after = backbone_weights(model)
        moved.append([after[p] - before[p] for p in model.layer_rates()])
    for whole, half in zip(*moved, strict=True):
        np.testing.assert_allclose(half, whole / 2, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.layer_rates == rates


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_rates": {"stem_conv/kernel": 0.0}}, "must be positive"),
        ({"layer_rates": {"none": 0.5}}, "must name trainable variables"),
        ({"layer_rates": {"a": 1.0}, "use_ema": True}, "use_ema=True"),
    ],
)
def test_wrong_rates_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        optimizers.SGD(0.1, **options).build([keras.Variable([1.0])])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes=1"),
        ({"class_names": ("cat",)}, "1 names"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"backbone": keras.Sequential()}, "feature map"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    arguments = {"backbone": ResNet((1,), (4,)), "num_classes": 3}
    with pytest.raises(ValueError, match=f"Received: .*{message}|{message}"):
        Classifier(**{**arguments, **options})
    model = make_model()
    with pytest.raises(ValueError, match="last=-1"):
        model.unfreeze(last=-1)
    with pytest.raises(ValueError, match="first=0"):
        model.layer_rates(first=0)


def test_wrong_presets_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no preset 'resnet'"):
        Classifier.from_preset("resnet")
    path = tmp_path / "model.keras"
    path.write_text("nonsense")
    with pytest.raises(DataError, match=r"cannot load .*model\.keras"):
        Classifier.from_preset(str(path))
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(UsageError, match="holds a Sequential"):
        Classifier.from_preset(str(path))
    make_model().save(path)
    with pytest.raises(UsageError, match="leave load_weights and dtype out"):
        Classifier.from_preset(str(path), 2, load_weights=False)


@pytest.fixture
def application(monkeypatch):
    """Puts a small network in the place of MobileNetV2."""

    @functools.wraps(keras.applications.MobileNetV2)
    def make(weights, classifier_activation):
        assert classifier_activation is None
        if weights is not None:
            raise OSError("no network")
        x = images = keras.Input((8, 8, 3))
        for layer in (
            keras.layers.Conv2D(4, 3, strides=2, name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(),
            pool[0](),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(5),
        ):
            x = layer(x)
        return keras.Model(images, x)

    pool = [keras.layers.GlobalAveragePooling2D]
    monkeypatch.setattr(keras.applications, "MobileNetV2", make)
    return pool


def test_a_network_of_keras_applications(application, tmp_path):
    model = Classifier.from_preset("MobileNetV2", 3, load_weights=False)
    assert model.image_size == 8
    assert model.backbone.trainable
    fill(model)
    features = model.backbone.get_layer("features")
    expected = features.predict_on_batch(IMAGES / 127.5 - 1)
    got = model.backbone.predict_on_batch(IMAGES)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    model.unfreeze(last=3)
    trained = {v.path for v in model.backbone.trainable_variables}
    assert trained == {"conv/kernel", "conv/bias"}
    model.save(tmp_path / "model.keras")
    loaded = Classifier.from_preset(str(tmp_path))
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    mixed = Classifier.from_preset(
        "MobileNetV2", 3, load_weights=False, dtype="mixed_bfloat16"
    )
    assert mixed.backbone.output.dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


def test_wrong_networks_of_keras_applications(application):
    with pytest.raises(UsageError, match="needs a number of classes"):
        Classifier.from_preset("MobileNetV2", load_weights=False)
    with pytest.raises(DataError, match="cannot load MobileNetV2: no network"):
        Classifier.from_preset("MobileNetV2")
    application[:] = [keras.layers.Flatten]
    with pytest.raises(UsageError, match="does not end in a global average"):
        Classifier.from_preset("MobileNetV2", 3, load_weights=False)


@pytest.mark.slow
def test_the_real_mobilenet():
    model = Classifier.from_preset("MobileNetV2", 3, load_weights=False)
    assert model.backbone.output_shape == (None, 7, 7, 1280)
    assert model.backbone.count_params() == 2_257_984  # without its head


@pytest.mark.slow
def test_a_preset_of_keras_hub(tmp_path):
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],  # it accepts no other
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(16, 16), scale=[0.01, 0.02, 0.03], offset=[1.0, 2.0, 3.0]
    )
    task = keras_hub.models.ResNetImageClassifier(
        backbone,
        num_classes=3,
        preprocessor=keras_hub.models.ResNetImageClassifierPreprocessor(
            converter
        ),
    )
    task.save_to_preset(str(tmp_path / "preset"))
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3))
    expected = task.predict(images, verbose=0)
    model = Classifier.from_preset(str(tmp_path / "preset"))
    assert model.image_size == 16
    got = model.predict(images.astype("float32"), verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    tuned = Classifier.from_preset(str(tmp_path / "preset"), 5)
    assert len(tuned.trainable_variables) == 2
