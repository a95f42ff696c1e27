import keras
import numpy as np
import pytest
from keras import ops

from keras_multi.layers import SelfAttention
from tests.layers.layer_case import check_layer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 6, 8)).astype("float32")
KEPT = np.arange(6) < np.array([[6], [4], [1], [5]])


def filled(**options):
    layer = SelfAttention(2, **options)
    layer.build(X.shape)
    layer.set_weights([RNG.normal(0, 0.5, w.shape) for w in layer.weights])
    return layer


def test_holds_what_every_layer_holds(tmp_path):
    check_layer(
        lambda **kwargs: SelfAttention(
            4,
            causal=True,
            use_bias=False,
            num_key_value_heads=2,
            rotary_base=100.0,
            **kwargs,
        ),
        [X],
        output_shape=X.shape,
        num_weights=2,
        folder=tmp_path,
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, KEPT])
def test_equals_keras_multi_head_attention(causal, mask):
    ours = filled(causal=causal)
    theirs = keras.layers.MultiHeadAttention(2, 4)
    theirs.build(X.shape, X.shape)
    kernel, bias, out, out_bias = ours.get_weights()
    weights = []
    for part in range(3):
        columns = slice(8 * part, 8 * part + 8)
        weights += [kernel[:, columns].reshape(8, 2, 4)]
        weights += [bias[columns].reshape(2, 4)]
    theirs.set_weights([*weights, out.reshape(2, 4, 8), out_bias])
    expected = theirs(
        X,
        X,
        attention_mask=None if mask is None else mask[:, None, :],
        use_causal_mask=causal,
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours(X, mask)),
        ops.convert_to_numpy(expected),
        rtol=1e-4,
        atol=1e-5,
    )


def test_shares_keys_and_turns_as_llama_does():
    import torch
    from transformers import LlamaConfig
    from transformers.models.llama import modeling_llama

    config = LlamaConfig(
        hidden_size=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 50.0},
        attn_implementation="eager",
    )
    theirs = modeling_llama.LlamaAttention(config, 0)
    angles = modeling_llama.LlamaRotaryEmbedding(config)(
        torch.zeros(()), torch.arange(6)[None]
    )
    layer = SelfAttention(
        4, causal=True, use_bias=False, num_key_value_heads=2, rotary_base=50.0
    )
    layer.build(X.shape)
    kernel, out = (RNG.normal(0, 0.5, w.shape) for w in layer.weights)
    layer.set_weights([kernel, out])
    parts = np.split(kernel, (8, 12), axis=1)
    maps = (theirs.q_proj, theirs.k_proj, theirs.v_proj, theirs.o_proj)
    with torch.no_grad():
        for linear, matrix in zip(maps, (*parts, out), strict=True):
            linear.weight.copy_(torch.tensor(matrix.T))
        hidden = torch.full((6, 6), -1e9).triu(1)[None, None]
        expected, _ = theirs(torch.tensor(X), angles, hidden)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(X)), expected.numpy(), rtol=1e-4, atol=1e-5
    )


def test_equals_softmax_of_products_written_out():
    layer = filled(causal=True)
    kernel, bias, out, out_bias = (w.astype("f8") for w in layer.get_weights())
    q, k, v = np.split(X @ kernel + bias, 3, axis=-1)
    heads = []
    for columns in (slice(0, 4), slice(4, 8)):
        scores = q[..., columns] @ k[..., columns].swapaxes(1, 2) / 2
        scores[:, np.triu(np.ones((6, 6), bool), 1)] = -np.inf
        shares = np.exp(scores)
        shares /= shares.sum(-1, keepdims=True)
        heads.append(shares @ v[..., columns])
    expected = np.concatenate(heads, axis=-1) @ out + out_bias
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(X)), expected, rtol=1e-4, atol=1e-5
    )


def test_padding_changes_nothing_for_the_other_tokens():
    layer = filled(causal=False)
    changed = np.where(KEPT[..., None], X, 9.0)
    ours, again = (
        ops.convert_to_numpy(layer(x, KEPT))[KEPT] for x in (X, changed)
    )
    np.testing.assert_allclose(ours, again, atol=1e-6)


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (None, {}),
        (KEPT[:, ::-1], {"num_key_value_heads": 1, "rotary_base": 9.0}),
    ],
)
def test_cache_gives_what_the_whole_sequence_gives(mask, options):
    layer = filled(causal=True, **options)
    whole = ops.convert_to_numpy(layer(X, mask))
    shape = (4, 7, layer.num_key_value_heads, 4)
    cache = (ops.zeros(shape), ops.zeros(shape))
    slots = mask
    if mask is not None:  # The seventh slot stays empty.
        slots = np.concatenate([mask, np.zeros((4, 1), bool)], axis=1)
    parts = []
    for start, stop in ((0, 3), (3, 5), (5, 6)):
        part, cache = layer(
            X[:, start:stop], slots, cache=cache, position=start
        )
        parts.append(ops.convert_to_numpy(part))
    seen = np.ones((4, 6), bool) if mask is None else mask
    np.testing.assert_allclose(
        np.concatenate(parts, axis=1)[seen], whole[seen], rtol=1e-4, atol=1e-5
    )


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="Received: num_heads=0"):
        SelfAttention(0)
    with pytest.raises(ValueError, match="must divide"):
        SelfAttention(3)(X)
    for shared in (0, 3):
        with pytest.raises(ValueError, match=f"num_key_value_heads={shared}"):
            SelfAttention(4, num_key_value_heads=shared)
    cache = (ops.zeros((4, 6, 2, 4)), ops.zeros((4, 6, 2, 4)))
    with pytest.raises(ValueError, match="causal layer"):
        SelfAttention(2)(X, cache=cache, position=0)
    with pytest.raises(ValueError, match="position=None"):
        SelfAttention(2, causal=True)(X, cache=cache)
