"""`keras-multi check` on models as users write them, on every backend."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_multi
from keras_multi.errors import UsageError

MODELS = Path(__file__).parents[1] / "benchmarks" / "user_models.py"

SHARED = """
import keras
from keras_multi import layers


def build():
    ids = keras.Input((3,), dtype="int32")
    x = layers.Embedding(20, 4)(ids)
    x = layers.DotInteraction()(x)
    x = keras.layers.Dense(6)(x)
    x = layers.CrossNetwork(2)(layers.FeatureCross(2)(x))
    model = keras.Model(ids, layers.MLP([8, 1], dropout=0.2)(x))
    model.compile("adam", "mse")
    return model
"""

PLANTED = """
import keras
import numpy as np
from keras import layers, ops


class Mine(layers.Layer):
    def call(self, x):
        {line}


def build():
    print("a word to standard output")
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, name="before"),
            Mine(name="mine"),
            layers.Dense(2, name="after"),
        ]
    )
"""

FAULTS = """
import os


def raises():
    raise RuntimeError("no\\nluck")


def leaves():
    raise SystemExit(0)


def wrong():
    return 3


def aborts():
    os.abort()
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "keras_multi", "check", *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )


def report(*arguments):
    child = run(*arguments, "--json")
    assert "Traceback" not in child.stderr, child.stderr
    answer = json.loads(child.stdout)
    assert child.returncode == (0 if answer["portable"] else 1)
    answer["status"] = {c["name"]: c["status"] for c in answer["checks"]}
    answer["findings"] = [f for c in answer["checks"] for f in c["findings"]]
    return answer


def write(folder, code):
    path = folder / "mine.py"
    path.write_text(code)
    return f"{path}:build"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("cnn", marks=pytest.mark.slow),
        pytest.param("text", marks=pytest.mark.slow),
        pytest.param("vit", marks=pytest.mark.slow),
        "two_inputs",
    ],
)
def test_portable_models(tmp_path, name):
    path = shutil.copy(MODELS, tmp_path / "models.py")
    jit = ["--jit"] if name == "two_inputs" else ["--no-jit"]
    found = report(f"{path}:{name}", *jit)
    assert found["portable"], found["findings"]
    assert found["backends"] == ["jax", "torch", "tensorflow"]
    status = found["status"]
    for check in ("source", "build", "outputs", "gradients", "batch"):
        assert status[check] == "ok", (check, found)
    assert status["layers"] in ("ok", "note")
    assert status["mixed_bfloat16"] in ("ok", "note")
    trained = name != "two_inputs"
    wanted = ("ok", "note") if trained else ("not judged",)
    assert status["training"] in wanted
    if name in ("cnn", "two_inputs"):
        assert status["saving"] == "ok"
    assert ("jit" in status) == (name == "two_inputs")


def test_shared_layers(tmp_path):
    found = report(write(tmp_path, SHARED), "--no-jit")
    assert found["portable"], found["findings"]
    assert set(found["status"].values()) == {"ok"}, found


def test_framework_function_is_named_with_its_line(tmp_path):
    line = "import tensorflow as tf; return tf.nn.relu(x)"
    reference = write(tmp_path, PLANTED.format(line=line))
    found = report(reference, "--backend", "jax", "--backend", "tensorflow")
    assert not found["portable"]
    places = {
        (f["file"], f["line"])
        for f in found["findings"]
        if f["kind"] == "framework" and "tf.nn.relu" in f["message"]
    }
    assert places == {(reference.partition(":")[0], 9)}
    (error,) = [f for f in found["findings"] if f["backends"] == ["jax"]]
    assert error["line"] == 9


def test_numpy_on_a_tensor_is_named_with_its_line(tmp_path):
    reference = write(tmp_path, PLANTED.format(line="return np.sin(x)"))
    found = report(reference, "--backend", "jax")
    assert not found["portable"]
    first = found["findings"][0]
    assert (first["kind"], first["line"]) == ("numpy", 9)


def test_layer_that_differs_on_a_backend_is_named(tmp_path):
    line = 'return x * (1.01 if keras.backend.backend() == "torch" else 1.0)'
    reference = write(tmp_path, PLANTED.format(line=line))
    pair = ("--backend", "jax", "--backend", "torch")
    child = run(reference, *pair, "--json")
    found = json.loads(child.stdout)
    assert child.returncode == 1
    assert "a word to standard output" in child.stderr
    layers = {c["name"]: c for c in found["checks"]}["layers"]
    (finding,) = layers["findings"]
    assert finding["layer"] == "sequential/mine"
    assert finding["backends"] == ["torch"]
    assert finding["error"] == pytest.approx(0.01, rel=0.01)
    assert "Mine" in finding["message"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "no function 'absent'"),
        ("raises", "RuntimeError"),
        ("leaves", "SystemExit"),
        ("wrong", "must return a Keras model"),
    ],
)
def test_a_function_that_makes_no_model_is_a_usage_fault(tmp_path, name, words):
    write(tmp_path, FAULTS)
    child = run(f"{tmp_path}/mine.py:{name}", "--backend", "jax")
    assert child.returncode == 2
    assert len(child.stderr.strip().splitlines()) == 1
    assert words in child.stderr


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("absent.py:build", "there is no file"),
        ("absent.py", "FILE.py:FUNCTION"),
        ("broken.py:build", "line 2"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_usage_fault(
    tmp_path, reference, words
):
    (tmp_path / "broken.py").write_text("x = 1\nx = = 2\n")
    child = run(tmp_path / reference)
    assert child.returncode == 2
    assert len(child.stderr.strip().splitlines()) == 1
    assert words in child.stderr


def test_a_process_that_dies_is_a_finding(tmp_path):
    write(tmp_path, FAULTS)
    found = report(f"{tmp_path}/mine.py:aborts", "--backend", "jax")
    (finding,) = found["findings"]
    assert finding["kind"] == "crash"
    assert "SIGABRT" in finding["message"]


def test_only_functions_that_others_can_import_are_taken():
    def nested():
        return None

    for function in (nested, lambda: None, len):
        with pytest.raises(UsageError, match="top level of a file"):
            keras_multi.check(function)
