"""Users' models through the harness, from a file outside the repository."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("user_models.py")
RUN = [sys.executable, "-m", "keras_multi", "bench"]


@pytest.fixture
def user_file(tmp_path):
    return Path(shutil.copy(SOURCE, tmp_path / "mine.py"))


def bench(*arguments):
    return subprocess.run(
        [*RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def models(file, *functions):
    return [x for f in functions for x in ("--model", f"{file}:{f}")]


def test_models_agree_on_every_backend(user_file, tmp_path):
    # `check` tries the others too.
    result = bench(
        *models(user_file, "text"), "--precision", "float32",
        "--budget", "0.1", "--json", "--output", tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    cells = json.loads(result.stdout)["cells"]
    workloads = {"mine.py:text train", "mine.py:text predict"}
    assert {cell["workload"] for cell in cells} == workloads
    assert len(cells) == 2 * 3
    for cell in cells:
        (measured,) = cell["measurements"]
        training = cell["workload"].endswith("train")
        assert measured["parity_error"] < (5e-3 if training else 1e-4)
        assert measured["unjudged"] == ""
        assert len(measured["timing"]["samples"]) >= 9
        assert measured["cost"]["bytes"] > 0


def test_a_model_that_differs_is_wrong(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import keras\n"
        "class Odd(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        factor = 1.01 if keras.backend.backend() == 'torch' else 1.0\n"
        "        return factor * x\n"
        "def build():\n"
        "    return keras.Sequential(\n"
        "        [keras.Input((4,)), keras.layers.Dense(3), Odd()]\n"
        "    )\n"
    )
    result = bench(
        *models(file, "build"), "--precision", "float32", "--budget", "0.1",
        "--backend", "jax", "--backend", "torch", "--json",
        "--output", tmp_path,
    )  # fmt: skip
    assert result.returncode == 1
    status = {
        cell["backend"]: (cell["status"], cell["reason"])
        for cell in json.loads(result.stdout)["cells"]
    }
    assert status["jax"] == ("ok", "")
    assert status["torch"][0] == "wrong"
    assert "1.0e-02" in status["torch"][1]


def test_faults_are_rows_and_the_rest_is_whole(user_file, tmp_path):
    result = bench(
        *models(user_file, "hangs", "aborts", "allocates", "two_inputs"),
        "--backend", "jax", "--precision", "float32", "--time-limit", "45",
        "--memory-limit", "2", "--budget", "0.1", "--json",
        "--output", tmp_path,
    )  # fmt: skip
    assert result.returncode == 1
    reasons = {
        cell["workload"]: cell["reason"]
        for cell in json.loads(result.stdout)["cells"]
    }
    assert "longer than its time limit" in reasons["mine.py:hangs"]
    assert "killed by SIGABRT" in reasons["mine.py:aborts"]
    assert "out of memory: used 2" in reasons["mine.py:allocates"]
    assert reasons["mine.py:two_inputs predict"] == ""
    report = (tmp_path / "report.html").read_text()
    assert "SIGABRT" in report


def test_the_same_command_goes_on_after_an_interruption(user_file, tmp_path):
    command = [
        *models(user_file, "two_inputs", "cnn"), "--backend", "jax",
        "--precision", "float32", "--budget", "0.1", "--output", tmp_path,
    ]  # fmt: skip
    parent = subprocess.Popen(
        [*RUN, *map(str, command)], stderr=subprocess.PIPE, text=True
    )
    results = tmp_path / "results.json"
    end = time.monotonic() + 120
    while not results.exists() and time.monotonic() < end:
        time.sleep(0.1)
    parent.send_signal(signal.SIGINT)
    _, stderr = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert "the same command goes on" in stderr
    assert "Traceback" not in stderr
    first = json.loads(results.read_text())
    assert first["finished"] == ["mine.py:two_inputs"]
    assert not first["complete"]

    again = bench(*command, "--json")
    assert again.returncode == 0, again.stderr
    assert "mine.py:two_inputs already finished" in again.stderr
    second = json.loads(again.stdout)
    assert second["complete"]
    assert second["cells"][0] == first["cells"][0]
    assert second["finished"] == ["mine.py:two_inputs", "mine.py:cnn"]
    assert json.loads(results.read_text()) == second


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("absent.py:build", "there is no file 'absent.py'"),
        ("absent.py", "FILE.py:FUNCTION"),
    ],
)
def test_a_file_that_is_not_there(model, message, tmp_path):
    result = bench("--model", model, "--output", tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_dry_run_shows_cells_and_runs_nothing(user_file, tmp_path):
    result = bench(*models(user_file, "cnn"), "--dry-run", "--output", tmp_path)
    assert result.returncode == 0
    assert "6 cells" in result.stdout
    assert not (tmp_path / "results.json").exists()


def test_cells_run_on_the_cores_asked_for(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import os, keras\n"
        "def build():\n"
        "    assert len(os.sched_getaffinity(0)) == 1\n"
        "    return keras.Sequential(\n"
        "        [keras.Input((4,)), keras.layers.Dense(3)]\n"
        "    )\n"
    )
    result = bench(
        *models(file, "build"), "--precision", "float32", "--budget", "0.1",
        "--backend", "jax", "--threads", "1", "--json", "--output", tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["environment"]["affinity"]) == 1
