"""The facade on the backend of this process."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from keras_multi import backend
from keras_multi.backend import selection
from keras_multi.backend.threefry import threefry
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
    monkeypatch.setattr(selection, "available", lambda: ("jax",))
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


def test_a_bound_program_takes_the_weights_of_the_moment():
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    layer.build((1, 2))
    program = backend.bind(layer, lambda x, more: layer(x) + more["bias"])
    x, more = keras.ops.ones((1, 2)), {"bias": keras.ops.ones((1,))}
    assert float(program(x, more)[0, 0]) == 3.0
    layer.kernel.assign([[2.0], [5.0]])
    assert float(program(x, more)[0, 0]) == 8.0
    for mode in set(backend.modes()) - {"compile"}:
        assert float(backend.bind(layer, layer, mode)(x)[0, 0]) == 7.0
    with pytest.raises(UsageError, match="has no mode"):
        backend.bind(layer, layer, "turbo")


@pytest.mark.skipif(backend.name() != "tensorflow", reason="has two modes")
def test_models_in_bfloat16_are_no_business_of_xla():
    import tensorflow as tf

    def length(x):
        return tf.strings.length(tf.strings.as_string(x))  # not with XLA

    for dtype, fails in ("mixed_bfloat16", False), ("float32", True):
        layer = keras.layers.Dense(1, dtype=dtype)
        layer.build((1, 1))
        program = backend.bind(layer, length)
        if fails:
            with pytest.raises(tf.errors.InvalidArgumentError):
                program(tf.constant(1))
        else:
            assert int(program(tf.constant(1))) == 1


class Norm(keras.layers.Layer):
    """Copies of weights, a view that changes, and outputs of many kinds."""

    def build(self, shape):
        self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy)
        self.norm.build(shape)

    def call(self, x, more):
        first, second = ops.split(self.norm(x), 2, axis=-1)
        wide = ops.concatenate([first, second * more["scale"]], axis=-1)
        return {"out": (wide, ops.sum(wide)), "same": x}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_what_is_repeated_follows_inputs_shapes_and_weights(policy):
    layer = Norm(dtype=policy)
    layer.build((None, 4))

    def fn(x, more):
        return layer(x, more)

    static = backend.bind(layer, fn, static=True)
    plain = backend.bind(layer, fn)
    rng = np.random.default_rng(0)

    def check(shape):
        x = ops.convert_to_tensor(rng.standard_normal(shape, "float32"))
        more = {"scale": ops.convert_to_tensor(rng.random(), "float32")}
        pairs = (keras.tree.flatten(f(x, more)) for f in (static, plain))
        for ours, expected in zip(*pairs, strict=True):
            assert ours.dtype == expected.dtype
            np.testing.assert_array_equal(
                *(ops.convert_to_numpy(ops.cast(y, "float32"))
                  for y in (ours, expected))
            )  # fmt: skip

    for shape in ((2, 4), (2, 4), (3, 4), (2, 4), (1, 3, 4)):
        check(shape)
    layer.norm.gamma.assign([1.0, 2.0, 3.0, 4.0])
    check((2, 4))
    check((2, 4))


@pytest.mark.skipif(backend.name() != "torch", reason="others compile")
def test_what_depends_on_values_or_changes_weights_is_not_repeated():
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    layer.build((1, 2))
    x = ops.ones((1, 2))

    def branches(x):
        return layer(x) if ops.sum(x) > 1 else x

    def changes(x):
        layer.kernel.assign(ops.transpose(x))
        return x

    for fn, message in ((branches, "value"), (changes, "change")):
        with pytest.raises(RuntimeError, match=message):
            backend.bind(layer, fn, static=True)(x)


def test_modes_of_the_harness_are_those_of_the_backend():
    from benchmarks.plan import MODES

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


def test_seeds_as_keras_does_and_imports_nothing():
    code = (
        "import sys, keras; from keras_multi import backend;"
        "backend.seed(7); print('tensorflow' in sys.modules);"
        "first = keras.ops.convert_to_numpy(keras.random.normal((3,)));"
        "keras.utils.set_random_seed(7);"
        "second = keras.ops.convert_to_numpy(keras.random.normal((3,)));"
        "print((first == second).all())"
    )
    wanted = f"{backend.name() == 'tensorflow'}\nTrue\n"
    assert python(code).stdout == wanted


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


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="no processor affinity"
)
def test_cores_are_chosen_before_keras_starts():
    last = max(os.sched_getaffinity(0))
    code = (
        f"from keras_multi import backend; backend.set_affinity([{last}]);"
        "import keras, os; backend.synchronize(keras.ops.ones(2));"
        "print(os.sched_getaffinity(0))"
    )
    assert python(code).stdout.strip() == f"{{{last}}}"
    with pytest.raises(UsageError, match="before Keras"):
        backend.set_affinity([last])


@pytest.mark.parametrize(
    ("cores", "words"),
    [
        ([], "at least one core"),
        ([0, 0], "each core once"),
        ([-1], "the cores here are"),
        ([10**6], "the cores here are"),
    ],
)
def test_wrong_cores(monkeypatch, cores, words):
    monkeypatch.delitem(sys.modules, "keras")
    before = os.sched_getaffinity(0)
    with pytest.raises(UsageError, match=words) as raised:
        backend.set_affinity(cores)
    assert str(raised.value).endswith(f"Received: {cores}")
    assert os.sched_getaffinity(0) == before


def test_no_affinity_on_this_system(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    for choose in (
        lambda: backend.set_affinity([0]),
        lambda: backend.set_threads(1),
    ):
        with pytest.raises(UsageError, match="no processor affinity"):
            choose()


class Nvidia:
    """What `pynvml` tells of two made-up devices."""

    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        pass

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def nvmlInit(self):
        if self.broken:
            raise self.NVMLError

    def nvmlDeviceGetHandleByIndex(self, index):
        if index > 1:
            raise self.NVMLError
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return {"GPU-a": 0, "GPU-b": 1}[uuid]

    def nvmlSystemGetDriverVersion(self):
        return "550.54"

    def nvmlDeviceGetMaxClockInfo(self, handle, kind):
        return (1410, 1980)[handle]


def on_gpu(monkeypatch, visible, broken=False):
    monkeypatch.setitem(sys.modules, "pynvml", Nvidia(broken))
    monkeypatch.setattr(
        backend, "device", lambda: backend.Device("gpu", "A100", 2**30)
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    return backend.accelerator_details()


def test_driver_and_clock_of_the_accelerator(monkeypatch):
    assert on_gpu(monkeypatch, "0") == ("550.54", 1410.0)
    assert on_gpu(monkeypatch, "1,0") == ("550.54", 1980.0)
    assert on_gpu(monkeypatch, "GPU-b") == ("550.54", 1980.0)


@pytest.mark.parametrize(
    ("visible", "broken"), [("7", False), ("-1", False), ("0", True)]
)
def test_driver_that_does_not_tell(monkeypatch, visible, broken):
    assert on_gpu(monkeypatch, visible, broken) == (None, None)


def test_accelerator_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(
        backend, "device", lambda: backend.Device("gpu", "A100", 2**30)
    )
    assert backend.accelerator_details() == (None, None)


def test_cpu_has_no_accelerator():
    if backend.device().kind == "cpu":
        assert backend.accelerator_details() == (None, None)


@pytest.mark.skipif(
    backend.name() == "torch", reason="PyTorch cannot add uint32"
)
@pytest.mark.parametrize(
    ("key", "count", "words"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        (
            (0x13198A2E, 0x03707344),
            (0x243F6A88, 0x85A308D3),
            (0xC4923A9C, 0x483DF7A0),
        ),
    ],
)
def test_threefry_gives_the_known_answers(key, count, words):
    """Those of the file `kat_vectors` of Random123, threefry2x32 20."""
    found = threefry(
        tuple(ops.convert_to_tensor(np.array(x, "uint32")) for x in key),
        tuple(ops.convert_to_tensor(np.array([x], "uint32")) for x in count),
    )
    assert [int(x[0]) for x in found] == list(words)


def test_draws_are_uniform_and_the_same_when_compiled():
    shape = (20000, 2)

    def draw():
        return backend.framework().uniform(shape, generator)

    generator = keras.random.SeedGenerator(3)
    first, second = (ops.convert_to_numpy(draw()) for _ in range(2))
    assert stats.kstest(first.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(first.T)[0, 1]) < 0.03
    if backend.name() == "tensorflow":
        generator = keras.random.SeedGenerator(3)
        found = ops.convert_to_numpy(backend.jit(draw)())
        np.testing.assert_array_equal(found, first)


@pytest.mark.skipif(backend.name() != "jax", reason="the others need none")
def test_a_layer_alone_gives_the_same_in_less_memory():
    import jax

    dense = [
        keras.layers.Dense(1024, activation="tanh", dtype="bfloat16")
        for _ in range(8)
    ]
    for layer in dense:
        layer.build((8, 1024))
    variables = [layer.kernel for layer in dense]

    def compiled(call):
        def stateless(values, x):
            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                for layer in dense:
                    x = call(layer, x)
            return x

        values = [variable.value for variable in variables]
        program = jax.jit(stateless).lower(values, x).compile()
        memory = program.memory_analysis().temp_size_in_bytes
        return lambda x: ops.convert_to_numpy(program(values, x)), memory

    x = ops.ones((8, 1024), "bfloat16")
    alone, memory = compiled(backend.framework().alone)
    together, more = compiled(lambda layer, x: layer(x))
    np.testing.assert_allclose(alone(x), together(x), 2e-2, 1e-2)
    assert alone(-x).any()
    assert np.isnan(alone(x * np.nan)).all()
    if backend.device()[0] == "cpu":
        assert more > 8 * 4 * 1024**2 > 4 * memory
