"""The facade on the backend of this process."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from keras_multi.errors import BackendError, UsageError


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_names_the_backend_of_keras():
    assert backend.name() == keras.backend.backend() == backend.configured()
    assert backend.name() in backend.available()


def test_knows_what_is_installed_without_importing_it():
    code = (
        "import sys; from keras_multi import backend; backend.available();"
        "print({'jax', 'torch', 'tensorflow', 'keras'} & set(sys.modules))"
    )
    assert python(code).stdout.strip() == "set()"


@pytest.mark.parametrize("choice", ["theano", "numpy"])
def test_unknown_backend_names_the_installed_ones(choice):
    with pytest.raises(BackendError, match=f"{choice}.*installed here"):
        backend.require(choice)


def test_missing_backend_names_the_extra(monkeypatch):
    monkeypatch.setattr(backend, "available", lambda: ("jax",))
    with pytest.raises(BackendError, match=r"pip install 'keras-multi\[torch"):
        backend.require("torch")


def test_layers_on_an_unknown_backend_fail_with_the_same_words():
    child = python("import keras_multi.layers", KERAS_BACKEND="theano")
    assert child.returncode == 1
    assert "unknown backend 'theano'" in child.stderr.splitlines()[-1]


def test_keras_json_rules_where_the_environment_says_nothing(
    tmp_path, monkeypatch
):
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    code = "from keras_multi import backend; print(backend.configured())"
    child = python(code, KERAS_BACKEND="", KERAS_HOME=str(tmp_path))
    assert child.stdout.strip() == "torch"


def test_cannot_change_once_keras_runs():
    backend.select(backend.name())
    other = next(b for b in backend.available() if b != backend.name())
    with pytest.raises(BackendError, match="cannot change"):
        backend.select(other)


def test_every_mode_computes_the_same():
    x = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)

    def fn(x):
        return ops.tanh(ops.matmul(x, ops.transpose(x)))

    for mode in backend.modes():
        y = backend.jit(fn, mode)(ops.convert_to_tensor(x))
        backend.synchronize(y)
        np.testing.assert_allclose(
            ops.convert_to_numpy(y), np.tanh(x @ x.T), rtol=1e-5
        )


def test_unknown_mode_names_the_modes():
    with pytest.raises(UsageError, match=backend.modes()[0]):
        backend.jit(lambda x: x, "turbo")


def test_modes_of_the_harness_are_those_of_the_backend():
    from benchmarks.runner import MODES

    assert MODES[backend.name()] == backend.modes()


def test_gradients_equal_the_closed_form():
    rng = np.random.default_rng(0)
    a, x = rng.standard_normal((3, 3)), rng.standard_normal(3)
    matrix = keras.Variable(a.astype("float32"))
    vector = keras.Variable(x.astype("float32"))
    unused = keras.Variable(np.ones(2, "float32"))
    value, gradients = backend.value_and_gradients(
        lambda: ops.sum(vector * ops.matmul(matrix, vector)),
        [matrix, vector, unused],
    )
    expected = [np.outer(x, x), (a + a.T) @ x, np.zeros(2)]
    np.testing.assert_allclose(
        ops.convert_to_numpy(value), x @ a @ x, rtol=1e-5
    )
    for ours, closed in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(ours), closed, rtol=1e-5, atol=1e-6
        )


def test_same_seed_same_numbers():
    backend.seed(7)
    first = ops.convert_to_numpy(keras.random.normal((4,)))
    backend.seed(7)
    np.testing.assert_array_equal(
        first, ops.convert_to_numpy(keras.random.normal((4,)))
    )
    with pytest.raises(UsageError, match="-1"):
        backend.seed(-1)


def test_device_and_memory():
    device = backend.device()
    assert device.kind in ("cpu", "gpu", "tpu")
    assert device.name
    assert backend.peak_memory().process > 50 * 2**20
    if device.kind == "cpu":
        assert device.memory_bytes > 2**30
        assert backend.peak_memory().device is None


def test_synchronize_gives_its_argument_back():
    x = {"a": ops.ones(3)}
    assert backend.synchronize(x) is x
    assert backend.synchronize() is None


def test_matmul_precision():
    for precision in backend.MATMUL_PRECISIONS:
        backend.set_matmul_precision(precision)
    backend.set_matmul_precision("float32")
    with pytest.raises(UsageError, match="int4"):
        backend.set_matmul_precision("int4")


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="no processor affinity"
)
def test_threads_are_confined_before_keras_starts():
    code = (
        "from keras_multi import backend; backend.set_threads(1);"
        "print(backend.threads());"
        "import keras; backend.synchronize(keras.ops.ones(2))"
    )
    assert python(code).stdout.split()[0] == "1"
    with pytest.raises(UsageError, match="before Keras"):
        backend.set_threads(1)
    child = python("from keras_multi import backend; backend.set_threads(0)")
    assert "Received: 0" in child.stderr.splitlines()[-1]
