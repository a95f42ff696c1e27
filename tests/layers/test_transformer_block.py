import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from keras_multi.layers import SelfAttention, TransformerBlock, gelu_tanh
from tests.layers.layer_case import check_layer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 6, 8)).astype("float32")


def filled(**options):
    block = TransformerBlock(2, **options)
    block.build(X.shape)
    block.set_weights([RNG.normal(0, 0.3, w.shape) for w in block.weights])
    return block


def test_holds_what_every_layer_holds(tmp_path):
    check_layer(
        lambda **kwargs: TransformerBlock(
            2,
            16,
            gelu_tanh,
            causal=True,
            dropout=0.1,
            output_initializer="he_normal",
            **kwargs,
        ),
        [X],
        output_shape=X.shape,
        num_weights=12,
        folder=tmp_path,
    )


def test_equals_its_formula():
    block = filled(hidden_dim=16, activation="relu", causal=True)
    gamma, beta, *attention, gamma2, beta2, w1, b1, w2, b2 = (
        weight
        for layer in (
            block.attention_norm,
            block.attention,
            block.mlp_norm,
            block.expand,
            block.contract,
        )
        for weight in layer.get_weights()
    )
    inner = SelfAttention(2, causal=True)
    inner.build(X.shape)
    inner.set_weights(attention)

    def norm(x, gamma, beta):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gamma + beta

    x = X + ops.convert_to_numpy(inner(norm(X, gamma, beta)))
    hidden = np.maximum(norm(x, gamma2, beta2) @ w1 + b1, 0)
    np.testing.assert_allclose(
        ops.convert_to_numpy(block(X)),
        x + hidden @ w2 + b2,
        rtol=1e-4,
        atol=1e-5,
    )


def test_cache_gives_what_the_whole_sequence_gives():
    block = filled(causal=True)
    whole = ops.convert_to_numpy(block(X))
    cache = (ops.zeros((4, 6, 2, 4)), ops.zeros((4, 6, 2, 4)))
    first, cache = block(X[:, :4], cache=cache, position=0)
    second, cache = block(X[:, 4:], cache=cache, position=4)
    parts = [ops.convert_to_numpy(part) for part in (first, second)]
    np.testing.assert_allclose(
        np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-5
    )


def test_dropout_is_active_in_training_only():
    block = filled(dropout=0.5)
    quiet = ops.convert_to_numpy(block(X))
    np.testing.assert_array_equal(quiet, ops.convert_to_numpy(block(X)))
    noisy = ops.convert_to_numpy(block(X, training=True))
    assert np.abs(noisy - quiet).max() > 0


def test_gelu_tanh_equals_its_formula():
    x = np.linspace(-4, 4, 33)
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    np.testing.assert_allclose(
        ops.convert_to_numpy(gelu_tanh(ops.convert_to_tensor(x, "float32"))),
        0.5 * x * (1 + np.tanh(inner)),
        atol=1e-5,
    )
    assert keras.activations.get(keras.activations.serialize(gelu_tanh)) is (
        gelu_tanh
    )


@pytest.mark.parametrize("options", [{"hidden_dim": 0}, {"dropout": 1.0}])
def test_says_which_argument_is_wrong(options):
    with pytest.raises(ValueError, match="Received: "):
        TransformerBlock(2, **options)


def test_checkpointing_changes_no_gradient():
    x = ops.convert_to_tensor(X)
    values = []
    for checkpointing in (False, True):
        backend.seed(0)
        block = TransformerBlock(
            2, causal=True, dropout=0.3, gradient_checkpointing=checkpointing
        )
        block.build(X.shape)
        value, gradients = backend.value_and_gradients(
            lambda block=block: ops.sum(ops.square(block(x, training=True))),
            block.trainable_variables,
        )
        values.append([value, *gradients])
    for plain, checkpointed in zip(*values, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(checkpointed),
            ops.convert_to_numpy(plain),
            rtol=1e-4,
            atol=1e-5,
        )
