import copy

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from keras_multi.layers import Conv2D
from tests.layers.layer_case import check_layer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 7, 6, 5)).astype("float32")
# Size of the kernel, strides, padding.
CASES = [
    (1, 1, "valid"),
    (1, (2, 1), "same"),
    (3, 1, "valid"),
    (3, 1, "same"),
    (3, 2, "valid"),
    (3, 2, "same"),
    ((2, 3), (1, 3), "same"),
]


def theirs(layer):
    """Keras's layer with the same weights."""
    other = keras.layers.Conv2D.from_config(layer.get_config())
    other.build((None, *X.shape[1:]))
    other.set_weights(layer.get_weights())
    return other


def inferred(layer, x=X):
    """The outputs outside of training."""
    compiled = backend.inference(lambda inputs: layer(inputs))
    return ops.convert_to_numpy(compiled(ops.convert_to_tensor(x)))


def close(ours, expected, tolerance=1e-5):
    ours, expected = map(ops.convert_to_numpy, (ours, expected))
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


def test_holds_what_every_layer_holds(tmp_path):
    check_layer(
        lambda **kwargs: Conv2D(4, 3, padding="same", **kwargs),
        [X],
        output_shape=(2, 7, 6, 4),
        num_weights=2,
        folder=tmp_path,
    )


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_those_of_keras(case):
    size, strides, padding = case
    layer = Conv2D(4, size, strides, padding, bias_initializer="ones")
    layer.build(X.shape)
    reference = theirs(layer)
    inputs = keras.Variable(X)
    results = []
    for one in (layer, reference):
        value, gradients = backend.value_and_gradients(
            lambda one=one: ops.sum(ops.square(one(inputs.value))),
            [inputs, *one.trainable_variables],
        )
        results.append([value, *gradients])
    for ours, expected in zip(*results, strict=True):
        close(ours, expected)
    close(inferred(layer), inferred(reference))


def test_what_is_left_to_keras_equals_it(monkeypatch):
    calls = []
    plain = keras.layers.Conv2D.convolution_op

    def convolution_op(self, inputs, kernel):
        calls.append(type(self))
        return plain(self, inputs, kernel)

    monkeypatch.setattr(keras.layers.Conv2D, "convolution_op", convolution_op)
    cases = [({}, 0), ({"dilation_rate": 2}, 1)]
    if backend.name() != "tensorflow":  # which has none on a CPU
        cases.append(({"data_format": "channels_first"}, 1))
    for settings, count in cases:
        layer = Conv2D(4, 3, **settings)
        layer.build(X.shape)
        layer._max_patches = 2 * 5 * 4
        calls.clear()
        outputs = layer(X)
        assert calls == [Conv2D] * count, settings
        other = keras.layers.Conv2D.from_config(layer.get_config())
        other.build(X.shape)
        other.set_weights(layer.get_weights())
        close(outputs, other(X))
    layer = Conv2D(4, 3)
    layer.build(X.shape)
    layer._max_patches = 2 * 5 * 4 - 1
    calls.clear()
    layer(X)
    assert calls == [Conv2D]


def test_outputs_smaller_than_the_kernel_are_few_places(monkeypatch):
    def convolution_op(self, inputs, kernel):
        raise AssertionError("left to Keras")

    x = RNG.standard_normal((6, 2, 3, 5)).astype("float32")
    layer = Conv2D(4, 3, padding="same")
    layer.build(x.shape)
    layer._max_patches = 0
    reference = theirs(layer)
    expected = reference(x)
    monkeypatch.setattr(keras.layers.Conv2D, "convolution_op", convolution_op)
    close(layer(x), expected)


def test_knows_of_kernels_that_have_changed():
    layer = Conv2D(4, 3, padding="same")
    layer.build(X.shape)
    close(inferred(layer), inferred(theirs(layer)))
    layer.kernel.assign(2 * layer.kernel)
    close(inferred(layer), inferred(theirs(layer)))
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    model.compile("sgd", "mse", jit_compile=False)
    before = layer.get_weights()[0]
    model.train_on_batch(X, np.ones((2, 7, 6, 4)))
    assert not np.array_equal(before, layer.get_weights()[0])
    close(inferred(layer), inferred(theirs(layer)))
    twin = copy.deepcopy(layer)
    close(inferred(twin, X[:1, :4]), inferred(theirs(layer), X[:1, :4]))

    def others(x):
        values = [ops.ones(v.shape) for v in layer.trainable_variables]
        return layer.stateless_call(values, [], x)[0]

    ones = theirs(layer)
    ones.set_weights([np.ones_like(w) for w in layer.get_weights()])
    outputs = backend.inference(others)(ops.convert_to_tensor(X))
    close(outputs, inferred(ones))


def test_operations_are_counted():
    layer = Conv2D(4, 3, padding="same")
    layer.build(X.shape)
    compiled = backend.inference(lambda x: layer(x))
    inputs = ops.convert_to_tensor(X)
    count = backend.operations(lambda: compiled(inputs))
    assert count == 2 * (2 * 7 * 6) * (3 * 3 * 5) * 4


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
def test_low_precision(policy):
    layer = Conv2D(4, 3, padding="same", dtype=policy)
    layer.build(X.shape)
    exact = keras.layers.Conv2D(4, 3, padding="same")
    exact.build(X.shape)
    exact.set_weights(layer.get_weights())
    compiled = backend.inference(lambda x: ops.cast(layer(x), "float32"))
    close(compiled(ops.convert_to_tensor(X)), exact(X), 0.03)
