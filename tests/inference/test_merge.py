"""What is merged into a product gives what NumPy gives in float64."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_multi.inference.affine import ScaleAndShift, merge
from keras_multi.inference.graph import runner
from keras_multi.inference.trace import UntraceableError, trace
from tests.inference.models import (
    NESTED_INPUTS,
    Stubborn,
    away_from_start,
    nested,
    pictures,
)

RNG = np.random.default_rng(1)
X = RNG.standard_normal((2, 5, 4, 6)).astype("float32")


def normalized(y, layer):
    """The definition, on the last axis."""
    gamma, beta, mean, variance = map(np.float64, layer.get_weights())
    return gamma * (y - mean) / np.sqrt(variance + layer.epsilon) + beta


def convolved(x, layer):
    """Sums over the taps, without padding; groups or channels apart."""
    kernel = np.float64(layer.get_weights()[0])
    rows, columns = kernel.shape[:2]
    high, wide = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    if isinstance(layer, layers.DepthwiseConv2D):
        rule, shape = "bhwc,cm->bhwcm", (len(x), high, wide, -1)
    else:
        groups = x.shape[-1] // kernel.shape[2]
        x = x.reshape(*x.shape[:3], groups, -1)
        kernel = kernel.reshape(*kernel.shape[:3], groups, -1)
        rule, shape = "bhwgc,cgf->bhwgf", (len(x), high, wide, -1)
    total = sum(
        np.einsum(rule, x[:, i : i + high, j : j + wide], kernel[i, j])
        for i in range(rows)
        for j in range(columns)
    )
    return total.reshape(shape) + layer.get_weights()[1]


def multiplied(x, layer):
    kernel, bias = layer.get_weights()
    return x @ np.float64(kernel) + bias


CASES = [
    (lambda: layers.Dense(4), multiplied),
    (lambda: layers.Conv2D(4, (2, 3)), convolved),
    (lambda: layers.Conv2D(4, (2, 3), groups=2), convolved),
    (lambda: layers.DepthwiseConv2D(2, depth_multiplier=2), convolved),
]


def steps_of(model, x=X):
    graph = trace(model, x)
    names = merge(graph)
    return graph, names, runner(graph, {})


@pytest.mark.parametrize(("make", "reference"), CASES)
def test_normalization_becomes_part_of_the_product(make, reference):
    layer, norm = make(), layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input(X.shape[1:]), layer, norm])
    layer.set_weights([RNG.standard_normal(w.shape) for w in layer.weights])
    away_from_start(model)
    before = model.get_weights()
    graph, names, run = steps_of(model)
    assert names == ["norm"]
    assert len(graph.steps) == 1
    expected = normalized(reference(np.float64(X), layer), norm)
    found = ops.convert_to_numpy(run(ops.convert_to_tensor(X)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_normalization_alone_scales_and_shifts():
    norm = layers.BatchNormalization()
    model = away_from_start(keras.Sequential([keras.Input(X.shape[1:]), norm]))
    graph, names, run = steps_of(model)
    assert names == []
    assert isinstance(graph.steps[0].operation, ScaleAndShift)
    found = ops.convert_to_numpy(run(ops.convert_to_tensor(X)))
    expected = normalized(np.float64(X), norm)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_only_what_nobody_else_reads_is_merged():
    graph, names, _ = steps_of(pictures(), np.ones((2, 6, 5, 4), "float32"))
    assert names == ["after_conv", "after_depthwise", "after_dense"]
    kinds = [getattr(step.operation, "kind", "") for step in graph.steps]
    assert kinds.count("convolution") == 2
    assert kinds.count("depthwise") == 1
    assert kinds.count("dense") == 2
    first = graph.steps[0].operation
    assert first.activation is keras.activations.relu
    assert graph.steps[1].operation.activation is keras.activations.relu6


def test_what_trains_or_normalizes_another_axis_is_not_merged():
    inputs = keras.Input((4, 4))
    for norm, training in (
        (layers.BatchNormalization(axis=1), None),
        (layers.BatchNormalization(), True),
    ):
        outputs = norm(layers.Dense(4)(inputs), training=training)
        _, names, _ = steps_of(
            keras.Model(inputs, outputs), np.ones((2, 4, 4), "float32")
        )
        assert names == []


def test_layers_of_users_are_taken_apart_and_left_as_they_were():
    model = nested()
    counts = {
        layer: (len(layer._inbound_nodes), len(layer._outbound_nodes))
        for layer in model._flatten_layers()
    }
    graph, names, run = steps_of(model, NESTED_INPUTS)
    assert names == ["inside"]
    kinds = [getattr(step.operation, "kind", "") for step in graph.steps]
    assert sorted(kinds)[-3:] == ["convolution", "dense", "dense"]
    for layer, count in counts.items():
        found = len(layer._inbound_nodes), len(layer._outbound_nodes)
        assert found == count
    picture, shift = map(ops.convert_to_tensor, NESTED_INPUTS.values())
    expected = model.predict_on_batch(NESTED_INPUTS)
    found = keras.tree.map_structure(ops.convert_to_numpy, run(picture, shift))
    np.testing.assert_allclose(
        found["logits"], expected["logits"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(found["largest"], expected["largest"])


def test_a_layer_that_takes_no_symbols_stays_a_step():
    model = keras.Sequential([keras.Input((3,)), Stubborn(), layers.Dense(2)])
    graph, _, run = steps_of(model, np.ones((2, 3), "float32"))
    assert isinstance(graph.steps[0].operation, Stubborn)
    x = np.float32(RNG.standard_normal((2, 3)))
    np.testing.assert_allclose(
        ops.convert_to_numpy(run(ops.convert_to_tensor(x))),
        model.predict_on_batch(x),
        rtol=1e-5,
        atol=1e-6,
    )


def test_says_what_it_cannot_take_apart():
    masked = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            layers.Embedding(5, 2, mask_zero=True),
            layers.LSTM(2),
        ]
    )
    with pytest.raises(UntraceableError, match="mask"):
        trace(masked, np.ones((1, 3), "int32"))
    half = keras.Sequential(
        [keras.Input((3,)), layers.Dense(2, dtype="mixed_bfloat16")]
    )
    with pytest.raises(UntraceableError, match="mixed_bfloat16"):
        trace(half, np.ones((1, 3), "float32"))
