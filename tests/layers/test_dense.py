import copy

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from keras_multi.layers import Dense
from tests.layers.layer_case import check_layer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 7, 5)).astype("float32")


def inferred(layer, x=X):
    """The outputs outside of training."""
    compiled = backend.inference(lambda inputs: layer(inputs))
    return ops.convert_to_numpy(
        ops.cast(compiled(ops.convert_to_tensor(x)), "float32")
    )


def by_numpy(layer, x=X):
    kernel, *bias = layer.get_weights()
    return x @ kernel + sum(bias)


def close(ours, expected, tolerance=1e-5):
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


def test_holds_what_every_layer_holds(tmp_path):
    check_layer(
        lambda **kwargs: Dense(4, **kwargs), [X], (2, 7, 4), 2, tmp_path
    )


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 7, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_equals_numpy(shape, use_bias):
    layer = Dense(4, use_bias=use_bias, bias_initializer="ones")
    layer.build((None, 5))
    x = RNG.standard_normal((3, *shape)).astype("float32")
    close(inferred(layer, x), by_numpy(layer, x))
    turned = np.swapaxes(np.swapaxes(x, 0, -2).copy(), 0, -2)
    close(inferred(layer, turned), by_numpy(layer, x))


def test_has_an_activation():
    layer = Dense(4, "relu")
    layer.build((None, 5))
    close(inferred(layer), np.maximum(by_numpy(layer), 0))


def test_knows_of_matrices_that_have_changed():
    layer = Dense(4)
    layer.build((None, 5))
    close(inferred(layer), by_numpy(layer))
    layer.kernel.assign(2 * layer.kernel)
    close(inferred(layer), by_numpy(layer))
    twin = copy.deepcopy(layer)
    twin.kernel.assign(2 * twin.kernel)
    close(inferred(twin), by_numpy(twin))
    close(inferred(layer), by_numpy(layer))


def test_takes_low_rank_changes():
    layer = Dense(4)
    layer.build((None, 5))
    inferred(layer)
    layer.enable_lora(2)
    layer.lora_kernel_a.assign(np.ones((5, 2)))
    layer.lora_kernel_b.assign(np.ones((2, 4)))
    kernel, bias = map(ops.convert_to_numpy, (layer.kernel, layer.bias))
    close(inferred(layer), X @ kernel + bias)


def test_operations_are_counted():
    layer = Dense(4)
    layer.build((None, 5))
    compiled = backend.inference(lambda x: layer(x))
    inputs = ops.convert_to_tensor(X)
    assert backend.operations(lambda: compiled(inputs)) == 2 * 14 * 5 * 4


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
def test_low_precision(policy):
    layer = Dense(4, dtype=policy)
    layer.build((None, 5))
    exact = keras.layers.Dense(4)
    exact.build((None, 5))
    exact.set_weights(layer.get_weights())
    close(inferred(layer), inferred(exact), 0.03)
