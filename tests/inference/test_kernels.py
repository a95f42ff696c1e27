"""Each way to a product gives what Keras's own way gives."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_multi import backend
from keras_multi.inference.affine import merge
from keras_multi.inference.kernels import ways
from keras_multi.inference.program import Variables, difference
from keras_multi.inference.trace import trace

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 7, 6, 4)).astype("float32")
CASES = {
    "dense": (lambda: layers.Dense(3, "tanh"), {"transposed"}),
    "1x1": (lambda: layers.Conv2D(5, 1), {"product", "packed"}),
    "1x1 strides": (
        lambda: layers.Conv2D(5, 1, 2, "same", activation="relu"),
        {"product", "packed"},
    ),
    "3x3": (
        lambda: layers.Conv2D(5, 3, padding="same", activation="relu6"),
        {"patches", "packed"},
    ),
    "2x3 strides": (
        lambda: layers.Conv2D(5, (2, 3), 2, "same", use_bias=False),
        {"patches", "packed"},
    ),
    "dilated": (
        lambda: layers.Conv2D(5, 3, padding="same", dilation_rate=2),
        {"packed"},
    ),
    "groups": (lambda: layers.Conv2D(6, 3, groups=2), {"packed"}),
    "depthwise": (
        lambda: layers.DepthwiseConv2D(3, 2, "same", activation="gelu"),
        {"shifts", "packed"},
    ),
    "depthwise, two": (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
        {"packed"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gives_what_keras_gives(case):
    make, others = CASES[case]
    layer = make()
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    layer.set_weights([RNG.standard_normal(w.shape) for w in layer.weights])
    expected = ops.convert_to_numpy(layer(X))
    graph = trace(model, X)
    merge(graph)
    (step,) = graph.steps
    makers = ways(step.operation, X.shape)
    if backend.name() != "torch":
        others = others - {"packed"}
    assert set(makers) == {"keras", *others}
    for maker in makers.values():
        kernel = maker()
        run = backend.bind(Variables(kernel.variables), kernel.compute)
        found = ops.convert_to_numpy(run(ops.convert_to_tensor(X)))
        assert difference(found, expected) < 1e-5


def test_accelerators_and_channels_first_are_left_to_keras(monkeypatch):
    if backend.name() == "tensorflow":
        pytest.skip("TensorFlow has no channels first on a CPU")
    layer = layers.Conv2D(5, 3, data_format="channels_first")
    model = keras.Sequential([keras.Input(X.shape[1:]), layer])
    graph = trace(model, X)
    merge(graph)
    assert set(ways(graph.steps[0].operation, X.shape)) == {"keras"}
    framework = backend.framework()
    monkeypatch.setattr(framework, "device", lambda: ("gpu", "", 0))
    model = keras.Sequential([keras.Input(X.shape[1:]), layers.Conv2D(5, 3)])
    graph = trace(model, X)
    merge(graph)
    assert set(ways(graph.steps[0].operation, X.shape)) == {"keras"}


def test_difference_is_a_share_and_knows_what_is_no_number():
    ones = np.ones(3)
    assert difference([ones], [ones]) == 0
    assert difference({"a": 1.5 * ones}, {"a": ones}) == 0.5
    assert difference(np.ones((3, 1)), ones) == float("inf")
    assert difference(np.array([1, np.nan]), np.ones(2)) == float("inf")
    assert difference(np.array([1, np.nan]), np.array([1, np.nan])) == 0
