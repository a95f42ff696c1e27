import numpy as np
import pytest
from keras import ops
from scipy.special import softmax

from keras_multi.layers import MLP, MultiGateMixtureOfExperts
from tests.layers.layer_case import check_layer

X = np.random.default_rng(0).standard_normal((8, 6)).astype("float32")


@pytest.mark.parametrize(
    ("experts", "options", "num_weights"),
    [(3, {}, 3 * 4 + 1), (1, {"dropout": 0.2}, 4)],
)
def test_holds_what_every_layer_holds(experts, options, num_weights, tmp_path):
    check_layer(
        lambda **kwargs: MultiGateMixtureOfExperts(
            2, experts, [7, 4], "tanh", **options, **kwargs
        ),
        [X],
        output_shape=(8, 2, 4),
        num_weights=num_weights,
        folder=tmp_path,
    )


def test_equals_the_formula():
    """Equations 6 and 7, task by task and expert by expert."""
    layer = MultiGateMixtureOfExperts(2, 3, [4])
    outputs = ops.convert_to_numpy(layer(X))
    *experts, gates = [
        ops.convert_to_numpy(w).astype("float64")
        for w in [
            w for expert in layer.experts for w in expert.trainable_weights
        ]
        + [layer.gate_kernel]
    ]
    hidden = [
        np.maximum(X @ kernel + bias, 0)
        for kernel, bias in zip(experts[::2], experts[1::2], strict=True)
    ]
    for task in range(2):
        gate = softmax(X @ gates[:, 3 * task : 3 * task + 3], axis=1)
        expected = sum(gate[:, i, None] * hidden[i] for i in range(3))
        np.testing.assert_allclose(
            outputs[:, task], expected, rtol=1e-4, atol=1e-5
        )


def test_one_expert_is_a_shared_bottom():
    layer = MultiGateMixtureOfExperts(3, 1, [5, 4])
    outputs = ops.convert_to_numpy(layer(X))
    bottom = MLP([5, 4], final_activation="relu")
    bottom.build(X.shape)
    bottom.set_weights(layer.experts[0].get_weights())
    for task in range(3):
        np.testing.assert_allclose(
            outputs[:, task], ops.convert_to_numpy(bottom(X)), rtol=1e-5
        )


@pytest.mark.parametrize(
    "arguments", [(0, 1, [4]), (1, 0, [4]), (1, 1, []), (1, 1, [4, 0])]
)
def test_says_which_argument_is_wrong(arguments):
    with pytest.raises(ValueError, match="Received: "):
        MultiGateMixtureOfExperts(*arguments)
