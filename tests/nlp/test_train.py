import json

import numpy as np
import pytest
from typer.testing import CliRunner

from keras_multi.errors import DataError, UsageError
from nlp import GPT2, Tokenizer, data
from nlp.cli import app
from nlp.ngram import ByteModel
from nlp.recipe import Recipe
from nlp.train import evaluate, metrics

pytestmark = pytest.mark.slow

TINY = {
    "vocabulary_size": 260,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 16,
    "length": 16,
    "batch_size": 8,
    "epochs": 2,
    "learning_rate": 0.01,
}
TEXT = "the quick brown fox jumps over the lazy dog. é " * 60


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "fox.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def test_trains_and_evaluates(source, tmp_path):
    arguments = ["train", "--data", source, "--output", str(tmp_path), "--json"]
    for name, value in TINY.items():
        arguments += ["--set", f"{name}={value}"]
    output = CliRunner().invoke(app, arguments, catch_exceptions=False)
    result = json.loads(output.stdout)
    assert result["test"]["bits_per_byte"] < 4
    assert result["sample"]
    history = json.loads((tmp_path / "history.json").read_text())["metrics"]
    assert history["loss"][1] < history["loss"][0]
    test = evaluate(tmp_path)["test"]
    for name, value in test.items():
        assert value == pytest.approx(result["test"][name], rel=1e-5)
    assert not (tmp_path / "checkpoint.npz").exists()
    model = GPT2.from_preset(tmp_path / "model")
    assert model.generate("the", max_new_tokens=3).startswith("the")


def test_metrics_equal_the_scores_of_the_tokens():
    tokenizer = Tokenizer.train([TEXT], 260)
    model = GPT2(260, 1, 2, 16, max_length=16, tokenizer=tokenizer)
    text = TEXT[:10]
    ids = [tokenizer.end_id, *tokenizer.encode(text), tokenizer.end_id]
    (score,) = model.score([ids])
    ours = metrics(model, [text], Recipe.of(**TINY))
    assert ours["perplexity"] == pytest.approx(score.perplexity, rel=1e-4)
    assert ours["bits_per_byte"] == pytest.approx(
        -score.log_probability / np.log(2) / len(text), rel=1e-4
    )


def test_packs_every_token_once():
    tokenizer = Tokenizer.train([TEXT], 260)
    texts = ["ab", "cdefg", ""]
    tokens, weights = data.pack(texts, tokenizer, 4)
    assert tokens.shape == (len(weights), 5)
    np.testing.assert_array_equal(tokens[1:, 0], tokens[:-1, -1])
    predicted = tokens[:, 1:][weights > 0].tolist()
    end = tokenizer.end_id
    expected = [i for text in texts for i in [*tokenizer.encode(text), end]]
    assert predicted == expected


def test_reads_the_help_of_python():
    texts = data.load("pydoc")
    assert len(texts.train) > 8 * len(texts.test) > 0
    assert not set(texts.train) & set(texts.test)
    assert sum(map(len, texts.train)) > 300_000


def test_says_what_is_wrong_with_a_text(tmp_path):
    path = tmp_path / "x"
    for content, message in ((b"\xff" * 20, "no UTF-8"), (b"abc", "too short")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            data.load(str(path))
    with pytest.raises(DataError, match="cannot read"):
        data.load(str(tmp_path / "none"))


@pytest.mark.parametrize(
    "fields",
    [
        {"epochs": 0},
        {"vocabulary_size": 256},
        {"num_heads": 3},
        {"dropout": 1.0},
        {"clip": 0.0},
        {"layers": 3},
        {"precision": "float8"},
    ],
)
def test_says_which_field_is_wrong(fields):
    with pytest.raises(UsageError):
        Recipe.of(**fields)


def test_probabilities_of_bytes_sum_to_one():
    model = ByteModel(["abracadabra", "abba"], 3)
    for context in (b"", b"a", b"ab", b"zz", b"xab"):
        total = sum(model.probability(context, byte) for byte in range(256))
        assert total == pytest.approx(1)


def test_counting_equals_the_method_by_hand():
    model = ByteModel(["aab"], 2)
    # One byte: a twice, b once, two kinds; below it 1 / 256.
    b = (1 + 2 / 256) / 5
    assert model.probability(b"", ord("b")) == pytest.approx(b)
    # After a: a once, b once, two kinds.
    expected = (1 + 2 * b) / 4
    assert model.probability(b"a", ord("b")) == pytest.approx(expected)
    assert model.bits_per_byte(["b"]) == pytest.approx(-np.log2(b))
