import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from keras_multi import backend
from keras_multi.errors import DataError, UsageError
from nlp import GPT2, Tokenizer, data
from nlp.cli import app
from nlp.ngram import ByteModel
from nlp.recipe import Recipe
from nlp.train import evaluate, metrics, train
from tests import precision_case

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


def test_the_precision_is_chosen(source, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path / "cache"))
    precision_case.use(monkeypatch, 0.5)
    train(Recipe.of(data=source, **TINY, precision="auto"), tmp_path, False)
    saved = json.loads((tmp_path / "recipe.json").read_text())
    assert saved["precision"] == "mixed_bfloat16"


# Kills itself when the second of three epochs begins.
KILLED = """
import os, signal, sys
from keras_multi.training.checkpoint import Checkpoint
from nlp.cli import app
write = Checkpoint.on_epoch_end
def write_and_die(self, epoch, logs=None):
    write(self, epoch, logs)
    os.kill(os.getpid(), signal.SIGKILL)
Checkpoint.on_epoch_end = write_and_die
app(sys.argv[1:])
"""


def test_a_killed_run_ends_as_one_that_was_not(source, tmp_path):
    fields = TINY | {"epochs": 3, "dropout": 0.1, "data": source}
    whole = train(Recipe.of(**fields), tmp_path / "whole", progress=False)
    arguments = ["train", "--output", str(tmp_path / "cut")]
    for name, value in fields.items():
        arguments += ["--set", f"{name}={value}"]
    environment = os.environ | {"KERAS_BACKEND": backend.name()}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "epoch 1, loss " in killed.stderr
    assert not (tmp_path / "cut" / "metrics.json").exists()
    resumed = train(Recipe.of(**fields), tmp_path / "cut", progress=False)
    assert resumed == whole
    histories = [
        (tmp_path / name / "history.json").read_text()
        for name in ("whole", "cut")
    ]
    assert histories[0] == histories[1]


def test_checkpointing_trains_the_same(source, tmp_path):
    losses = []
    for checkpointing in (False, True):
        fields = {"data": source, "gradient_checkpointing": checkpointing}
        folder = tmp_path / str(checkpointing)
        train(Recipe.of(**TINY | fields), folder, progress=False)
        history = json.loads((folder / "history.json").read_text())
        losses.append(history["metrics"]["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_tokens_on_the_disk_are_those_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CHARACTERS_AT_ONCE", 30)
    monkeypatch.setattr(data, "PARTS_AT_ONCE", 2)
    texts = ["one two\nthree\n\n  four " * 20, "", "x\ny" * 30]
    tokenizer = Tokenizer.train(texts, 300)
    expected = [tokenizer.end_id]
    for text in texts:
        expected += [*tokenizer.encode(text), tokenizer.end_id]
    tokens, weights = data.pack(texts, tokenizer, 7, tmp_path / "tokens")
    np.testing.assert_array_equal(
        tokens[:, 1:][weights > 0].tolist(), expected[1:]
    )
    same, _ = data.pack(texts, tokenizer, 7)
    np.testing.assert_array_equal(tokens, same)


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
