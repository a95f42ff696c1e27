import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from nlp import GPT2, Generator
from nlp.folder import named_variables
from tests.nlp.gpt2_case import VOCABULARY, reference, theirs, with_padding

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, VOCABULARY, (3, 11)).astype("int32")


def close(ours, expected, tolerance=1e-4):
    ours = ops.convert_to_numpy(ours)
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


def test_logits_equal_transformers(tmp_path):
    configurations = [
        {},
        {"n_layer": 1, "n_head": 1, "n_embd": 8, "vocab_size": 7},
        {"n_layer": 3, "n_head": 2, "n_inner": 20, "n_embd": 8},
        {"n_layer": 1, "layer_norm_epsilon": 1e-2, "n_positions": 11},
        {"n_layer": 1, "n_head": 8},
    ]
    for i, configuration in enumerate(configurations):
        expected = reference(tmp_path / str(i), **configuration)
        ids = IDS % configuration.get("vocab_size", VOCABULARY)
        model = GPT2.from_preset(tmp_path / str(i))
        # One program is compiled faster than each operation by itself.
        compiled = backend.inference(lambda ids, model=model: model(ids))
        close(compiled(ops.convert_to_tensor(ids)), theirs(expected, ids))


def test_padding_on_either_side_equals_transformers(tmp_path):
    expected = reference(tmp_path)
    model = GPT2.from_preset(tmp_path)
    for mask, logits in with_padding(expected, IDS):
        close(ops.convert_to_numpy(model(IDS, mask))[mask], logits[mask])


def test_gradients_equal_transformers(tmp_path):
    import torch

    expected = reference(tmp_path)
    labels = torch.tensor(IDS.astype("int64"))
    loss = expected(labels, labels=labels).loss
    loss.backward()
    parameters = dict(expected.transformer.named_parameters())

    model = GPT2.from_preset(tmp_path)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(True)
    named = named_variables(model)
    value, gradients = backend.value_and_gradients(
        lambda: cross_entropy(IDS[:, 1:], model(IDS)[:, :-1]),
        list(named.values()),
    )
    close(value, loss.item())
    assert set(named) == set(parameters)
    for name, gradient in zip(named, gradients, strict=True):
        close(gradient, parameters[name].grad.numpy())


def test_low_precision_comes_close(tmp_path):
    expected = reference(tmp_path)
    model = GPT2.from_preset(tmp_path, dtype="mixed_bfloat16")
    logits = model(IDS)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    close(logits, theirs(expected, IDS), 0.05)


def test_learns_and_is_saved(tmp_path):
    backend.seed(0)
    model = GPT2(VOCABULARY, 1, 2, 16, max_length=12, dropout=0.0)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(True)
    model.compile(keras.optimizers.Adam(0.01), cross_entropy)
    generator = Generator(model)
    copied = ops.convert_to_numpy(
        generator.weights(alone=True).tokens.rows
    ).copy()
    history = model.fit(
        IDS[:, :-1], IDS[:, 1:], batch_size=3, epochs=30, verbose=0
    ).history["loss"]
    assert history[0] == pytest.approx(np.log(VOCABULARY), rel=0.1)
    assert history[-1] < history[0] / 2
    # A generator keeps the weights that it was made with.
    kept = ops.convert_to_numpy(generator.weights(alone=True).tokens.rows)
    np.testing.assert_array_equal(kept, copied)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again(IDS)), ops.convert_to_numpy(model(IDS))
    )


def test_starts_as_the_paper_says():
    backend.seed(0)
    model = GPT2(500, 8, 4, 64, max_length=100)
    model.build()
    for block in model.blocks:
        deviation = np.std(block.contract.get_weights()[0])
        assert deviation == pytest.approx(0.02 / 4, rel=0.05)
        deviation = np.std(block.attention.qkv.get_weights()[0])
        assert deviation == pytest.approx(0.02, rel=0.05)
    assert model.count_params() == 500 * 64 + 100 * 64 + 8 * 49984 + 128


@pytest.mark.parametrize(
    "options", [{"num_layers": 0}, {"num_heads": 5}, {"max_length": 0}]
)
def test_says_which_argument_is_wrong(options):
    with pytest.raises(ValueError, match="Received: "):
        GPT2(**options)


def test_refuses_more_tokens_than_positions():
    with pytest.raises(ValueError, match="8 positions"):
        GPT2(VOCABULARY, 1, 2, 16, max_length=8)(IDS)
