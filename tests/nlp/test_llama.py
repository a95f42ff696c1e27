import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from nlp import Generator, Llama
from tests.nlp.gpt2_case import theirs, with_padding
from tests.nlp.llama_case import VOCABULARY, reference, write

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, VOCABULARY, (3, 11)).astype("int32")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    expected = reference()
    path = write(tmp_path_factory.mktemp("llama") / "x.gguf", expected)
    return expected, Llama.from_preset(path)


def close(ours, expected, tolerance=1e-4):
    ours = ops.convert_to_numpy(ours)
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


def test_logits_equal_transformers(models):
    expected, model = models
    compiled = backend.inference(lambda ids: model(ids))
    close(compiled(ops.convert_to_tensor(IDS)), theirs(expected, IDS))


def test_padding_on_either_side_equals_transformers(models):
    expected, model = models
    for mask, logits in with_padding(expected, IDS):
        close(ops.convert_to_numpy(model(IDS, mask))[mask], logits[mask])


def test_gradients_equal_transformers(models):
    import torch

    expected, model = models
    labels = torch.tensor(IDS.astype("int64"))
    loss = expected(labels, labels=labels).loss
    loss.backward()
    wanted = {}
    for name, parameter in expected.model.named_parameters():
        wanted[name.removesuffix(".weight")] = parameter.grad.numpy().T

    layers = {"embed_tokens": model.tokens.embeddings, "norm": model.norm.scale}
    wanted["embed_tokens"] = wanted["embed_tokens"].T
    for i, block in enumerate(model.blocks):
        attention, mlp = f"layers.{i}.self_attn.", f"layers.{i}.mlp."
        wanted[f"{attention}qkv"] = np.concatenate(
            [wanted.pop(f"{attention}{part}_proj") for part in "qkv"], axis=1
        )
        layers |= {
            f"{attention}qkv": block.attention.qkv.kernel,
            f"{attention}o_proj": block.attention.output_dense.kernel,
            f"layers.{i}.input_layernorm": block.attention_norm.scale,
            f"layers.{i}.post_attention_layernorm": block.mlp_norm.scale,
            f"{mlp}gate_proj": block.mlp.gate.kernel,
            f"{mlp}up_proj": block.mlp.up.kernel,
            f"{mlp}down_proj": block.mlp.down.kernel,
        }
    assert set(layers) == set(wanted)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(True)
    value, gradients = backend.value_and_gradients(
        lambda: cross_entropy(IDS[:, 1:], model(IDS)[:, :-1]),
        list(layers.values()),
    )
    close(value, loss.item())
    for name, gradient in zip(layers, gradients, strict=True):
        close(gradient, wanted[name])


def test_greedy_text_equals_transformers(models):
    import torch

    expected, model = models
    prompts = [IDS[0, :9].tolist(), IDS[1, :3].tolist(), [5]]
    generator = Generator(model)
    ours = generator.generate(prompts, max_new_tokens=40, stop_ids=[])
    for prompt, text in zip(prompts, ours, strict=True):
        ids = expected.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.int64),
            pad_token_id=0,
            max_new_tokens=40,
            do_sample=False,
        )
        assert text == ids[0].tolist()
        assert len(set(text)) > 5
    (score,) = generator.score(IDS[:1])
    logits = theirs(expected, IDS[:1])[0, :-1].astype("float64")
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    chosen = np.log(shares[np.arange(10), IDS[0, 1:]])
    np.testing.assert_allclose(score.log_probabilities, chosen, atol=1e-3)


def test_low_precision_comes_close(models, tmp_path):
    expected, _ = models
    path = write(tmp_path / "x.gguf", expected)
    model = Llama.from_preset(path, dtype="mixed_bfloat16")
    logits = model(IDS)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    close(logits, theirs(expected, IDS), 0.05)


@pytest.mark.slow
def test_starts_as_told_and_is_configured():
    backend.seed(0)
    model = Llama(50, 2, 4, 64, 96, num_key_value_heads=2, max_length=8)
    model.build()
    for block in model.blocks:
        deviation = np.std(block.mlp.down.get_weights()[0])
        assert deviation == pytest.approx(0.01, rel=0.05)
        deviation = np.std(block.attention.qkv.get_weights()[0])
        assert deviation == pytest.approx(0.02, rel=0.05)
    block = 64 * (64 + 2 * 32 + 64) + 3 * 64 * 96 + 2 * 64
    assert model.count_params() == 50 * 64 + 2 * block + 64
    again = Llama.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    with pytest.raises(ValueError, match="looks at 8 tokens"):
        model(IDS)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_layers": 0},
        {"num_heads": 16},
        {"num_key_value_heads": 3},
        {"num_key_value_heads": 0},
        {"intermediate_dim": 0},
        {"rotary_base": 0.0},
    ],
)
def test_says_which_argument_is_wrong(changes):
    arguments = {
        "vocabulary_size": 50,
        "num_layers": 1,
        "num_heads": 4,
        "hidden_dim": 16,
        "intermediate_dim": 24,
    }
    with pytest.raises(ValueError, match="Received: "):
        Llama(**(arguments | changes))
