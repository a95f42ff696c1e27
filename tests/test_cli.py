"""The command line as a user meets it: each call a process."""

import json
import os
import subprocess
import sys

import pytest


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "keras_multi", *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_info_tells_each_backend():
    answer = json.loads(run("info", "--json").stdout)
    assert answer["backends"]["jax"]["device"]["kind"] in ("cpu", "gpu", "tpu")
    assert answer["packages"]["keras"]
    table = run("info")
    assert table.returncode == 0
    assert "backend tensorflow" in table.stdout


def test_info_works_on_a_missing_backend(tmp_path):
    child = run("info", KERAS_BACKEND="theano")
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["bench", "--workload", "mnist"], 2, "unknown workload 'mnist'"),
        (["bench", "--backend", "theano"], 2, "unknown backend 'theano'"),
        (["bench", "--precision", "int4"], 2, "unknown precision 'int4'"),
        (["bench", "--suite", "huge"], 2, "unknown suite 'huge'"),
        (["bench", "--time-limit", "0"], 2, "--time-limit"),
        (["bench", "--base", "no-such-folder"], 2, "base must be the folder"),
        (["bench", "--output", "/proc/nowhere"], 1, "cannot write"),
        (["compare", "no.json", "no.json"], 1, "cannot read"),
        (["recsys", "train", "--data", "netflix"], 2, "netflix"),
        (["recsys", "train", "--model", "gbdt"], 2, "gbdt"),
        (["recsys", "train", "--backend", "theano"], 2, "theano"),
        (["recsys", "evaluate", "no-such-run"], 1, "no-such-run"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(arguments, code, words):
    child = run(*arguments, KERAS_BACKEND="jax")
    lines = child.stderr.strip().splitlines()
    assert child.returncode == code, child.stderr
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert words in lines[0]


def test_results_of_another_schema_are_refused_by_name(tmp_path):
    path = tmp_path / "old.json"
    path.write_text('{"schema_version": 99}')
    child = run("compare", str(path), str(path))
    assert child.returncode == 1
    assert "schema 99" in child.stderr
    assert "Traceback" not in child.stderr
