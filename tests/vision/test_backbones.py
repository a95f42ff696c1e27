import keras
import numpy as np
import pytest
from keras import ops
from scipy.signal import correlate

from vision.backbones import EfficientNetLite0, ResNet


def trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def conv(x, kernel, strides=1):
    """Convolution of (H, W, C), "same" as TensorFlow defines it."""
    sides = []
    for size in x.shape[:2]:
        pad = max((-(-size // strides) - 1) * strides + len(kernel) - size, 0)
        sides.append((pad // 2, pad - pad // 2))
    x = np.pad(x, [*sides, (0, 0)])
    maps = [
        correlate(x, kernel[..., i], "valid")[::strides, ::strides, 0]
        for i in range(kernel.shape[-1])
    ]
    return np.stack(maps, axis=-1)


def norm(x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def numpy_resnet(weights, image):
    """Two stages of one block, figure 5 (left) of the paper."""

    def conv_norm(x, name, strides=1):
        x = conv(x, weights[f"{name}_conv"][0], strides)
        return norm(x, *weights[f"{name}_norm"])

    x = np.maximum(conv_norm(image / 127.5 - 1, "stem"), 0)
    inner = np.maximum(conv_norm(x, "stage1_1_1"), 0)
    x = np.maximum(conv_norm(inner, "stage1_1_2") + x, 0)
    inner = np.maximum(conv_norm(x, "stage2_1_1", 2), 0)
    shortcut = conv_norm(x, "stage2_1_shortcut", 2)
    return np.maximum(conv_norm(inner, "stage2_1_2") + shortcut, 0)


def test_resnet_equals_numpy():
    model = ResNet(depths=(1, 1), widths=(3, 4), channels=2)
    rng = np.random.default_rng(0)
    model.set_weights(
        [rng.uniform(0.2, 1, size=w.shape) for w in model.get_weights()]
    )
    images = rng.integers(0, 256, size=(2, 7, 6, 2))
    expected = [
        numpy_resnet(
            {layer.name: layer.get_weights() for layer in model.layers}, image
        )
        for image in images
    ]
    got = ops.convert_to_numpy(model(images.astype("float32")))
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_sizes_are_those_of_the_papers():
    # torchvision's resnet18 has 11,689,512 parameters, 513,000 of them in the
    # head; EfficientNet-Lite0 has 4,652,008, 1,281,000 of them in the head.
    with keras.StatelessScope(initialize_variables=False):
        resnet = ResNet((2, 2, 2, 2), (64, 128, 256, 512), large_images=True)
        efficientnet = EfficientNetLite0()
    assert trainable(resnet) == 11_176_512
    assert resnet.compute_output_shape((1, 224, 224, 3)) == (1, 7, 7, 512)
    assert trainable(efficientnet) == 3_371_008
    shape = efficientnet.compute_output_shape((1, 224, 224, 3))
    assert shape == (1, 7, 7, 1280)


def test_loads_as_plain_keras(tmp_path):
    model = ResNet((1,), (2,), channels=1, dtype="mixed_bfloat16")
    assert model.layers[-1].compute_dtype == "bfloat16"
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = np.full((1, 4, 4, 1), 9.0, "float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(model(images), "float32")),
        ops.convert_to_numpy(ops.cast(loaded(images), "float32")),
    )


@pytest.mark.parametrize(
    "options",
    [
        {"depths": (), "widths": ()},
        {"depths": (1,), "widths": (4, 8)},
        {"depths": (1, 0), "widths": (4, 8)},
        {"channels": 0},
    ],
)
def test_wrong_sizes_are_refused(options):
    with pytest.raises(ValueError, match="Received: "):
        ResNet(**options)
