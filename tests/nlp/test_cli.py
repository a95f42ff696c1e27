import io
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from keras_multi.errors import UsageError
from nlp import GPT2, Tokenizer
from nlp.cli import app
from nlp.generation import Beam, Random
from nlp.generation.named import with_settings
from nlp.tokenizer import END_OF_TEXT
from tests import precision_case
from tests.nlp.llama_case import reference, write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    vocabulary = {chr(33 + i): i for i in range(93)}
    vocabulary |= {"Ġ": 93, END_OF_TEXT: 94}
    model = GPT2(
        95,
        1,
        2,
        16,
        max_length=64,
        tokenizer=Tokenizer.from_files(vocabulary, []),
    )
    model.build()
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.weights])
    folder = tmp_path_factory.mktemp("model")
    model.save_to_preset(folder)
    return str(folder)


def run(*arguments, stdin=None):
    result = CliRunner().invoke(
        app, arguments, input=stdin, catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def test_shows_and_returns_the_same_text(folder, tmp_path):
    options = ("--model", folder, "--max-new-tokens", "8", "--seed", "1")
    options += ("--sampler", "top_k", "--temperature", "0.7")
    shown = run("generate", "A prompt", *options)
    assert shown.startswith("A prompt")
    assert len(shown) > len("A prompt\n")
    output = json.loads(run("generate", "A prompt", *options, "--json"))
    (result,) = output["results"]
    assert result == {"prompt": "A prompt", "text": shown.removesuffix("\n")}

    lines = "A prompt\nother\n"
    several = run("generate", *options, stdin=lines).splitlines()
    assert several[0] + "\n" == shown
    assert several[1].startswith("other")
    (tmp_path / "prompts").write_text(lines)
    again = run("generate", "--file", str(tmp_path / "prompts"), *options)
    assert again.splitlines() == several


def test_answers_where_the_model_has_a_template(folder, tmp_path):
    path = write(tmp_path / "x.gguf", reference(num_hidden_layers=1))
    options = ("--model", str(path), "--max-new-tokens", "8", "--chat")
    answer = run("generate", "AB", *options)
    output = json.loads(run("generate", "AB", *options, "--json"))
    (result,) = output["results"]
    assert result == {"prompt": "AB", "text": answer.removesuffix("\n")}
    assert "AB" not in run("generate", *options, stdin="AB\nAB\n")
    with pytest.raises(UsageError, match="no template of a conversation"):
        run("generate", "A", "--model", folder, "--chat")


def test_talks_until_the_input_ends(tmp_path):
    path = write(tmp_path / "x.gguf", reference(num_hidden_layers=1))
    options = ("--model", str(path), "--max-new-tokens", "8")
    (answer,) = run("generate", "AB", "--chat", *options).splitlines()
    shown = run("chat", *options, stdin="AB\n\nAB\n").splitlines()
    assert (shown[0], len(shown)) == (answer, 2)


def test_settings_change_a_sampler():
    assert with_settings("beam", {"num_beams": 2}) == Beam(2)
    assert with_settings("top_k", {"top_p": 0.5}) == Random(top_k=50, top_p=0.5)


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_the_precision_is_chosen(folder, tmp_path, monkeypatch, share):
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path))
    precision_case.use(monkeypatch, share)
    chosen = "bfloat16" if share < 1 else "float32"
    options = ("one", "--model", folder, "--json", "--precision")
    auto = CliRunner().invoke(app, ["score", *options, "auto"])
    assert f"precision {chosen}: " in auto.stderr
    assert auto.stdout == run("score", *options, chosen)
    again = CliRunner().invoke(app, ["generate", *options, "auto"])
    assert again.stderr == auto.stderr


def test_scores(folder):
    output = json.loads(
        run("score", "one", "three", "--model", folder, "--json")
    )
    one, three = output["results"]
    assert (one["tokens"], three["tokens"]) == (3, 5)
    assert one["perplexity"] == pytest.approx(
        np.exp(-one["log_probability"] / 3)
    )
    total = one["log_probability"] + three["log_probability"]
    assert output["perplexity"] == pytest.approx(np.exp(-total / 8))
    assert "perplexity" in run("score", "one", "--model", folder)
    options = ("--model", folder, "--quantize", "int8", "--json")
    rounded = json.loads(run("score", "one", "three", *options))
    assert rounded["perplexity"] == pytest.approx(output["perplexity"], rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate"], "there is no text"),
        (["generate", "A", "--file", "x"], "not both"),
        (["generate", "A", "--precision", "int4"], "unknown precision"),
        (["generate", "A", "--model", "./none"], "there is no folder"),
        (["generate", "A", "--top-k", "3"], "'greedy' has no top_k"),
        (["generate", "A", "--quantize", "int1"], "unknown quantize 'int1'"),
        (["generate", "--file", "none"], "cannot read none"),
        (
            ["generate", "A", "--sampler", "random", "--temperature", "-1"],
            "temperature must be more than 0",
        ),
        (
            ["generate", "A", "--sampler", "top_p", "--top-p", "0"],
            r"top_p must lie in \(0, 1\]",
        ),
        (
            ["generate", "A", "--sampler", "top_p", "--top-p", "1.5"],
            r"top_p must lie in \(0, 1\]",
        ),
        (["generate", "A" * 60], "context holds 64 tokens"),
        (["generate", ""], "at least one token"),
        (
            ["generate", "A", "--sampler", "random", "--temperature", "0"],
            "temperature must be more than 0",
        ),
    ],
)
def test_says_what_is_wrong(arguments, message, folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    if "--model" not in arguments:
        arguments = [*arguments, "--model", folder]
    with pytest.raises(UsageError, match=message):
        run(*arguments)


def test_prints_no_prompt_that_is_refused(folder):
    options = ["--model", folder, "--max-new-tokens", "64"]
    result = CliRunner().invoke(app, ["generate", "A", *options])
    assert isinstance(result.exception, UsageError)
    assert result.stdout == ""
