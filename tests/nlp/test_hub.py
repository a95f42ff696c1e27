"""Presets that keras-nlp writes, with random weights and tiny sizes."""

import io
import json

import keras_nlp
import numpy as np
import pytest
import sentencepiece
from keras import ops
from typer.testing import CliRunner

import nlp
from keras_multi.errors import DataError, UsageError
from nlp import GPT2, Generator
from nlp.cli import app
from nlp.generation import Contrastive
from nlp.pieces import PieceTokenizer
from nlp.tokenizer import _byte_of_character
from tests.nlp.test_cli import run

pytestmark = pytest.mark.slow

models = keras_nlp.models
SPECIAL = ("<s>", "<pad>", "</s>", "<mask>", "<unk>")
TEXT = "the quick brown fox jumps over the lazy dog"
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}
LENGTH = 64


def vocabulary():
    tokens = [*SPECIAL, *_byte_of_character(), "th", "Ġth", "Ġthe"]
    return {
        "vocabulary": {token: i for i, token in enumerate(tokens)},
        "merges": ["t h", "Ġ th", "Ġth e"],
    }


def pieces(**names):
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT] * 10),
        model_writer=proto,
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
        **names,
    )
    return proto.getvalue()


def drawn(model):
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.weights])
    return model


def opt():
    tokenizer = models.OPTTokenizer(**vocabulary())
    backbone = models.OPTBackbone(
        tokenizer.vocabulary_size(),
        **SIZES,
        intermediate_dim=24,
        dropout=0.0,
        max_sequence_length=LENGTH,
    )
    preprocessor = models.OPTCausalLMPreprocessor(tokenizer, LENGTH)
    return drawn(models.OPTCausalLM(backbone, preprocessor))


def llama():
    tokenizer = models.LlamaTokenizer(pieces())
    backbone = models.LlamaBackbone(
        tokenizer.vocabulary_size(),
        num_layers=2,
        num_query_heads=4,
        num_key_value_heads=2,
        hidden_dim=16,
        intermediate_dim=24,
    )
    preprocessor = models.LlamaCausalLMPreprocessor(tokenizer, LENGTH)
    return drawn(models.LlamaCausalLM(backbone, preprocessor))


def roberta():
    tokenizer = models.RobertaTokenizer(**vocabulary())
    backbone = models.RobertaBackbone(
        tokenizer.vocabulary_size(),
        **SIZES,
        intermediate_dim=24,
        max_sequence_length=LENGTH,
    )
    preprocessor = models.RobertaMaskedLMPreprocessor(tokenizer, LENGTH)
    return drawn(models.RobertaMaskedLM(backbone, preprocessor))


def albert():
    proto = pieces(
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece="<pad>",
        unk_piece="<unk>",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        user_defined_symbols="[MASK]",
    )
    tokenizer = models.AlbertTokenizer(proto)
    backbone = models.AlbertBackbone(
        tokenizer.vocabulary_size(),
        **SIZES,
        embedding_dim=8,
        intermediate_dim=24,
        max_sequence_length=LENGTH,
    )
    preprocessor = models.AlbertMaskedLMPreprocessor(tokenizer, LENGTH)
    return drawn(models.AlbertMaskedLM(backbone, preprocessor))


@pytest.fixture(scope="module", params=[opt, llama])
def causal(request, tmp_path_factory):
    task = request.param()
    folder = tmp_path_factory.mktemp("causal")
    task.save_to_preset(str(folder))
    return task, nlp.load(folder), folder


@pytest.fixture(scope="module", params=[roberta, albert])
def masked(request, tmp_path_factory):
    task = request.param()
    folder = tmp_path_factory.mktemp("masked")
    task.save_to_preset(str(folder))
    return task, nlp.load(folder), folder


def test_greedy_text_equals_that_of_keras_nlp(causal):
    task, model, _ = causal
    task.compile(sampler="greedy")
    generator = Generator(model)
    prompts = ["the quick", "brown", "the quick brown fox"]
    start = model.tokenizer.start_ids
    assert len(start) == 1
    for prompt in prompts:
        ids = [*start, *model.tokenizer.encode(prompt)]
        padded = np.zeros((1, LENGTH), "int32")
        padded[0, : len(ids)] = ids
        theirs = task.generate_step(
            {
                "token_ids": ops.convert_to_tensor(padded),
                "padding_mask": ops.convert_to_tensor(
                    np.arange(LENGTH)[None] < len(ids)
                ),
            },
            stop_token_ids=None,
        )
        expected = ops.convert_to_numpy(theirs["token_ids"])[0]
        new = LENGTH - len(ids)
        (ours,) = generator.generate([ids], new, stop_ids=[])
        assert ours == expected.tolist()
        assert len(set(ours)) > 5
    texts = generator.generate(prompts, 8)
    assert texts == [generator.generate(prompt, 8) for prompt in prompts]
    assert all(t.startswith(p) for t, p in zip(texts, prompts, strict=True))


def test_scores_and_samples_with_any_model(causal):
    _, model, _ = causal
    generator = Generator(model)
    ids = [*model.tokenizer.start_ids, *model.tokenizer.encode(TEXT)][:12]
    logits = ops.convert_to_numpy(model(np.array([ids])))[0, :-1]
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    (score,) = generator.score([ids])
    np.testing.assert_allclose(
        score.log_probabilities,
        np.log(shares[np.arange(11), ids[1:]]),
        atol=1e-3,
    )
    sampled = [generator.generate("the", 6, "top_k", seed=1) for _ in range(2)]
    assert sampled[0] == sampled[1]
    assert generator.generate("the", 6, "beam").startswith("the")
    with pytest.raises(UsageError, match="contrastive search"):
        generator.generate("the", 6, Contrastive())


def test_tokenizers_equal_those_of_keras_nlp(causal, masked):
    for task, model, _ in (causal, masked):
        theirs = task.preprocessor.tokenizer
        for text in (TEXT, "the  the\n dog", "lazy"):
            expected = np.asarray(theirs(text)).tolist()
            assert model.tokenizer.encode(text) == expected
            if not isinstance(model.tokenizer, PieceTokenizer):
                assert model.tokenizer.decode(expected) == text
        ids = model.tokenizer.encode(TEXT)
        assert model.tokenizer.decode(ids) == TEXT


def test_fills_a_gap_as_the_model_of_keras_nlp_does(masked):
    task, encoder, _ = masked
    tokenizer = task.preprocessor.tokenizer
    text = f"the quick {encoder.mask} fox"
    left, right = encoder.tokenizer.encode_batch(["the quick", " fox"])
    ids = [
        tokenizer.start_token_id,
        *left,
        tokenizer.mask_token_id,
        *right,
        tokenizer.end_token_id,
    ]
    inputs = {
        "token_ids": np.array([ids]),
        "padding_mask": np.ones((1, len(ids)), "int32"),
        "mask_positions": np.array([[len(left) + 1]]),
        "segment_ids": np.zeros((1, len(ids)), "int32"),
    }
    known = {k: v for k, v in inputs.items() if k in task.input}
    logits = ops.convert_to_numpy(task(known))[0, 0].astype("float64")
    shares = np.exp(logits) / np.exp(logits).sum()
    fillings = encoder.fill_mask(text, 3)
    np.testing.assert_allclose(
        [one.probability for one in fillings],
        np.sort(shares)[::-1][:3],
        rtol=1e-3,
    )
    best = fillings[0]
    assert best.text.endswith(" fox")
    token = encoder.tokenizer.decode_bytes([int(shares.argmax())])
    assert best.token == token.decode("utf-8", "replace")


def test_a_vector_is_the_mean_of_the_tokens(masked):
    task, encoder, _ = masked
    tokenizer = task.preprocessor.tokenizer
    ids = [
        tokenizer.start_token_id,
        *encoder.tokenizer.encode(TEXT),
        tokenizer.end_token_id,
    ]
    inputs = {
        "token_ids": np.array([ids]),
        "padding_mask": np.ones((1, len(ids)), "int32"),
        "segment_ids": np.zeros((1, len(ids)), "int32"),
    }
    known = {k: v for k, v in inputs.items() if k in task.backbone.input}
    stream = task.backbone(known)
    if isinstance(stream, dict):
        stream = stream["sequence_output"]
    expected = ops.convert_to_numpy(stream)[0].mean(0)
    both = encoder.encode([TEXT, "the"])
    np.testing.assert_allclose(both[0], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(encoder.encode(TEXT), both[0], atol=1e-4)


def test_commands_take_what_keras_nlp_has_written(causal, masked):
    _, _, folder = causal
    options = ("--model", str(folder), "--json")
    output = run("generate", "the", "--max-new-tokens", "4", *options)
    assert json.loads(output)["results"][0]["text"].startswith("the")
    _, encoder, folder = masked
    options = ("--model", str(folder))
    text = f"the {encoder.mask} fox"
    shown = run("fill-mask", text, *options, "--k", "2").splitlines()
    rows = json.loads(run("fill-mask", text, *options, "--json"))["results"]
    assert shown[0].endswith(rows[0]["fillings"][0]["text"])
    assert (len(shown), len(rows[0]["fillings"])) == (2, 5)
    rows = json.loads(run("encode", "the", "fox", *options, "--json"))
    assert np.shape([row["vector"] for row in rows["results"]]) == (2, 16)
    assert "1.000" in run("encode", "the", "fox", *options)


def test_says_what_is_wrong(causal, masked, tmp_path):
    _, encoder, folder = masked
    for text in ("no gap", f"{encoder.mask} {encoder.mask}"):
        with pytest.raises(UsageError, match="must have one gap"):
            encoder.fill_mask(text)
    with pytest.raises(UsageError, match="k must be"):
        encoder.fill_mask(encoder.mask, 0)
    with pytest.raises(UsageError, match="looks at 64 tokens"):
        encoder.encode("the " * 80)
    with pytest.raises(UsageError, match="no text"):
        encoder.encode([])
    runner = CliRunner()
    for command, path, message in (
        ("generate", folder, "is an encoder"),
        ("encode", causal[2], "is no encoder"),
    ):
        result = runner.invoke(app, [command, "a", "--model", str(path)])
        assert message in str(result.exception)
    with pytest.raises(UsageError, match="only the dtype"):
        nlp.load(folder, num_layers=3)
    with pytest.raises(UsageError, match="there is no preset 'no_model'"):
        nlp.load("no_model")
    config = json.loads((causal[2] / "config.json").read_text())
    config["registered_name"] = "os>system"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"not of keras-nlp.*os>system"):
        nlp.load(tmp_path)


def test_a_damaged_folder_is_told(causal, tmp_path):
    for path in causal[2].rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(causal[2])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (tmp_path / "model.weights.h5").write_bytes(b"no weights")
    with pytest.raises(DataError, match="cannot load"):
        nlp.load(tmp_path)


def test_a_gpt2_of_keras_nlp_becomes_our_own(tmp_path):
    words = vocabulary()
    words["vocabulary"] = {
        "<|endoftext|>" if token == "</s>" else token: i
        for token, i in words["vocabulary"].items()
    }
    tokenizer = models.GPT2Tokenizer(**words)
    backbone = models.GPT2Backbone(
        tokenizer.vocabulary_size(),
        **SIZES,
        intermediate_dim=24,
        max_sequence_length=LENGTH,
    )
    preprocessor = models.GPT2CausalLMPreprocessor(tokenizer, LENGTH)
    task = drawn(models.GPT2CausalLM(backbone, preprocessor))
    task.save_to_preset(str(tmp_path))
    model = GPT2.from_preset(tmp_path)
    ids = np.array([model.tokenizer.encode(TEXT)])
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(ids)),
        ops.convert_to_numpy(task(inputs)),
        rtol=1e-3,
        atol=1e-3,
    )
