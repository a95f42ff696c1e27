import keras
import numpy as np
import pytest
from keras import ops

from keras_multi.layers import CrossNetwork, FeatureCross
from tests.layers.layer_case import check_layer

RNG = np.random.default_rng(0)
X0 = RNG.standard_normal((4, 6)).astype("float32")
X = RNG.standard_normal((4, 6)).astype("float32")


def set_random_weights(layer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """Random weights, biases too, returned by name as float64."""
    rng = np.random.default_rng(1)
    layer.set_weights(
        [rng.standard_normal(w.shape).astype("float32") for w in layer.weights]
    )
    return {
        w.name: ops.convert_to_numpy(w).astype("float64") for w in layer.weights
    }


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("options", "num_weights"),
    [
        ({}, 2),
        ({"use_bias": False}, 1),
        ({"diag_scale": 0.5, "pre_activation": "tanh"}, 2),
        ({"projection_dim": 3}, 3),
        ({"projection_dim": 3, "num_experts": 2}, 5),
        ({"vector": True}, 2),
        ({"vector": True, "use_bias": False}, 1),
    ],
)
def test_holds_what_every_layer_holds(options, num_weights, tmp_path):
    check_layer(
        lambda **kwargs: FeatureCross(**options, **kwargs),
        [X0, X],
        output_shape=(4, 6),
        num_weights=num_weights,
        folder=tmp_path,
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": False},
        {"diag_scale": 0.7},
        {"pre_activation": "tanh"},
        {"projection_dim": 2},
        {"projection_dim": 2, "diag_scale": 0.3, "pre_activation": "relu"},
    ],
)
@pytest.mark.parametrize("same_input", [True, False])
def test_equals_keras_rs(options, same_input):
    import keras_rs

    ours, theirs = (
        FeatureCross(**options),
        keras_rs.layers.FeatureCross(**options),
    )
    arguments = [X0] if same_input else [X0, X]
    ours(*arguments)
    theirs(*arguments)
    set_random_weights(ours)
    by_shape = iter(theirs.weights)
    for weight in ours.weights:
        next(by_shape).assign(weight)
    expected = ops.convert_to_numpy(theirs(*arguments))
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours(*arguments)), expected, rtol=1e-6, atol=1e-6
    )


def test_vector_form_is_equation_3_of_dcn():
    layer = FeatureCross(vector=True)
    layer.build(X0.shape)
    w = set_random_weights(layer)
    expected = [
        x0 * (x @ w["kernel"][:, 0]) + w["bias"] + x
        for x0, x in zip(X0.astype("float64"), X.astype("float64"), strict=True)
    ]
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(X0, X)), expected, rtol=1e-5, atol=1e-5
    )


def test_mixture_is_equation_3_and_4_of_dcn_v2():
    rank, experts = 2, 3
    layer = FeatureCross(projection_dim=rank, num_experts=experts)
    layer.build(X0.shape)
    w = set_random_weights(layer)
    x0, x = X0.astype("float64"), X.astype("float64")
    gates = softmax(x @ w["gate_kernel"])
    expected = x.copy()
    for e in range(experts):
        own = slice(e * rank, (e + 1) * rank)
        v, c = w["down_kernel"][:, own], w["expert_kernel"][:, own]
        u = w["kernel"][own]
        hidden = np.tanh(np.tanh(x @ v) @ c) @ u + w["bias"]
        expected += gates[:, [e]] * x0 * hidden
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(X0, X)), expected, rtol=1e-5, atol=1e-5
    )


def test_gradients_are_those_of_the_closed_form():
    from keras_multi import backend

    layer = FeatureCross()
    layer.build(X0.shape)
    w = set_random_weights(layer)
    _, (kernel, bias) = backend.value_and_gradients(
        lambda: ops.sum(ops.square(layer(X0, X))) / 2, layer.weights
    )
    x0, x = X0.astype("float64"), X.astype("float64")
    upstream = (x0 * (x @ w["kernel"] + w["bias"]) + x) * x0
    np.testing.assert_allclose(
        ops.convert_to_numpy(kernel), x.T @ upstream, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(bias), upstream.sum(0), rtol=1e-4, atol=1e-4
    )


def test_crosses_sequences_and_passes_their_mask_on():
    embed = keras.layers.Embedding(5, 6, mask_zero=True)
    x0 = embed(np.array([[1, 2, 0], [3, 0, 0]]))
    for layer in (
        FeatureCross(projection_dim=2, num_experts=2),
        FeatureCross(),
    ):
        crossed = layer(x0, x0 * 2)
        assert crossed.shape == (2, 3, 6)
    crossed = FeatureCross()(x0)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(crossed._keras_mask),
        [[True, True, False], [True, False, False]],
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection_dim": 0}, "projection_dim=0"),
        ({"num_experts": 0}, "num_experts=0"),
        ({"num_experts": 2}, "projection_dim=None"),
        ({"diag_scale": -1.0}, "diag_scale=-1.0"),
        ({"vector": True, "projection_dim": 2}, "projection_dim=2"),
    ],
)
def test_says_which_argument_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        FeatureCross(**options)


def test_says_which_shapes_differ():
    with pytest.raises(ValueError, match="same shape"):
        FeatureCross()(X0, X[:, :3])


@pytest.mark.parametrize(
    ("options", "num_weights"),
    [({}, 4), ({"projection_dim": 2, "num_experts": 2}, 10)],
)
def test_network_holds_what_every_layer_holds(options, num_weights, tmp_path):
    check_layer(
        lambda **kwargs: CrossNetwork(2, **options, **kwargs),
        [X0],
        output_shape=(4, 6),
        num_weights=num_weights,
        folder=tmp_path,
    )


def test_network_stacks_keras_rs_layers():
    import keras_rs

    network = CrossNetwork(3, diag_scale=0.1)
    network.build(X0.shape)
    set_random_weights(network)
    x = X0
    for cross in network.crosses:
        theirs = keras_rs.layers.FeatureCross(diag_scale=0.1)
        theirs(X0)
        theirs.dense.set_weights(cross.get_weights())
        x = theirs(X0, x)
    np.testing.assert_allclose(
        ops.convert_to_numpy(network(X0)),
        ops.convert_to_numpy(x),
        rtol=1e-5,
    )


def test_network_layers_start_from_different_weights():
    network = CrossNetwork(
        2, kernel_initializer=keras.initializers.GlorotUniform()
    )
    network.build(X0.shape)
    first, second = (ops.convert_to_numpy(c.kernel) for c in network.crosses)
    assert np.abs(first - second).max() > 0.01


def test_network_refuses_no_layers():
    with pytest.raises(ValueError, match="num_layers=0"):
        CrossNetwork(0)
