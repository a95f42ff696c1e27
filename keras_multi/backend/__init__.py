"""The one place that names a framework.

This facade chooses the Keras backend and offers, under one name each, what
Keras itself does not: synchronisation, compilation modes, memory, matrix
product precision, counts of operations and threads. The modules `jax`,
`torch` and `tensorflow` beside this file implement the same functions; only
the one in use is imported.
"""

import contextlib
import importlib
import platform
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from keras_multi.backend.compiled import keep_compiled
from keras_multi.backend.machine import (
    cores,
    cpu_name,
    nvidia_details,
    set_affinity,
    set_threads,
    threads,
)
from keras_multi.backend.selection import (
    BACKENDS,
    available,
    configured,
    name,
    require,
    select,
)
from keras_multi.errors import UsageError

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")
AUTO = "auto"  # in their place: what `keras_multi.choose_precision` takes
MATMUL_PRECISIONS = ("float32", "tensorfloat32")

__all__ = [
    "AUTO",
    "BACKENDS",
    "MATMUL_PRECISIONS",
    "PRECISIONS",
    "Device",
    "PeakMemory",
    "accelerator_details",
    "available",
    "bind",
    "bind_loop",
    "configured",
    "cores",
    "cpu_name",
    "device",
    "framework",
    "inference",
    "jit",
    "keep_compiled",
    "modes",
    "name",
    "operations",
    "peak_memory",
    "require",
    "seed",
    "select",
    "set_affinity",
    "set_matmul_precision",
    "set_threads",
    "synchronize",
    "threads",
    "value_and_gradients",
    "without_tensorflow",
]


class Device(NamedTuple):
    """The device that the backend computes on.

    Attributes:
        kind: `"cpu"`, `"gpu"` or `"tpu"`.
        name: the model of the processor or accelerator.
        memory_bytes: memory of the device; of the machine for a CPU.
    """

    kind: str
    name: str
    memory_bytes: int


class PeakMemory(NamedTuple):
    """Highest memory use so far, in bytes.

    Attributes:
        process: resident set of this process on the host.
        device: allocated on the accelerator; `None` on a CPU or where the
            framework does not tell.
    """

    process: int
    device: int | None


def framework() -> ModuleType:
    """Gives the module beside this one for the backend in use.

    Layers take functions from it when they are built, since a compiler that
    traces them cannot follow the choice of the backend.
    """
    known = name() if "keras" in sys.modules else None  # It cannot change.
    if module := sys.modules.get(f"{__name__}.{known}"):
        return module
    return importlib.import_module(f"{__name__}.{require()}")


def device() -> Device:
    """Describes the device that the backend computes on by default."""
    kind, device_name, memory = framework().device()
    if kind == "cpu":
        import psutil

        return Device("cpu", cpu_name(), psutil.virtual_memory().total)
    return Device(kind, device_name, memory)


def accelerator_details() -> tuple[str | None, float | None]:
    """Tells of the accelerator that the backend computes on by default.

    Returns:
        The version of its driver and its highest clock in MHz; `None` for
        both on a CPU, or where NVIDIA's library (`pynvml`, of the package
        `nvidia-ml-py`) does not tell.
    """
    if device().kind != "gpu":
        return None, None
    return nvidia_details()


def synchronize(x: Any = None) -> Any:
    """Waits until a result has been computed.

    Frameworks return from a call before an accelerator (on JAX: also the
    CPU) has done the work, so that a clock read without this tells the time
    of the launch.

    Args:
        x: a tensor or a nested structure of tensors. `None` waits for all
            work on the device where the framework can do so.

    Returns:
        `x`, unchanged.

    Example:
        >>> from keras_multi import backend
        >>> import keras
        >>> y = backend.synchronize(keras.ops.ones((2, 2)))
    """
    framework().synchronize(x)
    return x


def modes() -> tuple[str, ...]:
    """Names the ways this backend runs a function; the first is its default.

    JAX: `("xla",)`. TensorFlow: `("xla", "graph")`. PyTorch: `("eager",
    "compile")`. The defaults are those of `keras.Model.compile`.
    """
    return tuple(framework().MODES)


def jit(fn: Callable[..., Any], mode: str | None = None) -> Callable[..., Any]:
    """Compiles a function of tensors.

    Args:
        fn: a pure function of tensors and nested structures of them.
        mode: one of `modes()`; the fastest compiler by default: XLA on JAX
            and TensorFlow, `torch.compile` on PyTorch.

    Returns:
        A function with the same signature. Under `"eager"` it is `fn` itself.

    Raises:
        UsageError: if the backend does not have the mode.
    """
    module = framework()
    compiled: Callable[..., Any] = module.jit(
        fn, _known(mode or module.COMPILED, module)
    )
    return compiled


def inference(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Prepares a function of tensors for calls that need no gradient.

    A new shape must not cost much, so this is XLA on JAX, a graph on
    TensorFlow, and eager inference mode on PyTorch.

    Args:
        fn: a pure function of tensors.

    Returns:
        A function with the same signature.
    """
    prepared: Callable[..., Any] = framework().inference(fn)
    return prepared


def bind(
    model: Any,
    fn: Callable[..., Any],
    mode: str | None = None,
    static: bool = False,
) -> Callable[..., Any]:
    """Compiles a function that calls a model, once for each shape.

    The program takes the weights that the model has at each call: training
    or loading changes what it gives, and they are not copied into it.

    Args:
        model: a Keras model or layer, built, or what else has `variables`.
        fn: a function of tensors, and nested structures of them, that calls
            the model or its parts, and may loop with `keras.ops`.
        mode: one of `modes()`; by default XLA on JAX and TensorFlow (there a
            graph, where the model computes in bfloat16 on a CPU), and eager
            on PyTorch.
        static: whether the operations of `fn` depend on the shapes of its
            arguments alone, and draw no random numbers. Eager PyTorch then
            repeats those of the first call with such shapes, without the time
            that Keras takes to call a layer.

    Returns:
        A function with the same signature, which needs no gradient.

    Raises:
        UsageError: if the backend does not have the mode.

    Example:
        >>> import keras
        >>> from keras_multi import backend
        >>> layer = keras.layers.Dense(2, kernel_initializer="ones")
        >>> layer.build((1, 3))
        >>> y = backend.bind(layer, layer)(keras.ops.ones((1, 3)))
        >>> keras.ops.convert_to_numpy(y).tolist()
        [[3.0, 3.0]]
    """
    module = framework()
    known = mode and _known(mode, module)
    bound: Callable[..., Any] = module.bind(model, fn, known, static)
    return bound


def bind_loop(model: Any, step: Callable[..., Any]) -> Callable[..., Any]:
    """Binds a loop whose steps call a model, as `bind` does.

    It is one program on JAX and TensorFlow; PyTorch repeats the operations
    of the first step.

    Args:
        model: a Keras model or layer, built, or what else has `variables`.
        step: from a state, which is a tuple of tensors, and further arguments
            to the next state, of the same shapes and types. The first tensor
            of a state is an int32 scalar, the number of steps done. The
            operations must not depend on values.

    Returns:
        A function of a state, the number of steps to end with, and the
        further arguments, which gives the last state.

    Example:
        >>> import keras
        >>> from keras_multi import backend
        >>> layer = keras.layers.Dense(1, kernel_initializer="ones")
        >>> layer.build((1, 1))
        >>> double = backend.bind_loop(
        ...     layer, lambda state: (state[0] + 1, state[1] + layer(state[1]))
        ... )
        >>> start = keras.ops.array(0, "int32"), keras.ops.ones((1, 1))
        >>> float(double(start, 3)[1][0, 0])
        8.0
    """
    bound: Callable[..., Any] = framework().bind_loop(model, step)
    return bound


def _known(mode: str | None, module: ModuleType) -> str:
    """The mode, or the first one; it must be of the backend."""
    if mode is not None and mode not in module.MODES:
        raise UsageError(
            f"backend {name()!r} has no mode {mode!r}; "
            f"it has {', '.join(module.MODES)}"
        )
    return mode or str(module.MODES[0])


def value_and_gradients(
    fn: Callable[[], Any], variables: Sequence[Any]
) -> tuple[Any, list[Any]]:
    """Evaluates a function and its gradients, alike on every backend.

    Args:
        fn: a function without arguments that reads Keras variables and
            returns a scalar tensor. Updates it makes of variables are lost
            on JAX.
        variables: the `keras.Variable`s to differentiate by.

    Returns:
        The scalar, and a gradient of each variable as a dense tensor.
        A variable that `fn` does not depend on has a gradient of zeros.

    Example:
        >>> import keras
        >>> from keras_multi import backend
        >>> v = keras.Variable([1.0, 2.0])
        >>> _, (g,) = backend.value_and_gradients(
        ...     lambda: keras.ops.sum(v * v), [v]
        ... )
        >>> keras.ops.convert_to_numpy(g).tolist()
        [2.0, 4.0]
    """
    result: tuple[Any, list[Any]] = framework().value_and_gradients(
        fn, list(variables)
    )
    return result


def operations(fn: Callable[[], Any]) -> float | None:
    """Counts the floating-point operations of one call of a function.

    Those of matrix products and convolutions, which all but decide the time
    of most models: a multiplication and an addition count as two, at the
    padding too, and whether or not the framework skips an element that it
    knows to be zero. Nothing else counts: no bias, activation or sum.

    JAX and TensorFlow trace the function, PyTorch runs it. It leaves Keras
    variables as they are.

    Args:
        fn: a function without arguments that uses Keras models, layers or
            ops that are built, and perhaps `value_and_gradients`. It must
            return all that it is to compute, since compilers leave out what
            nobody reads.

    Returns:
        The number, or `None` where it cannot be known: on JAX at a `while`
        of unknown length that holds products, branches with different counts
        or a kernel that XLA calls as a black box; on PyTorch at an RNN that
        runs as one kernel (on a GPU); on TensorFlow at shapes or loop bounds
        that the graph does not fix, branches with different counts, or an
        operation with products inside that is not known.

    Example:
        >>> import keras
        >>> from keras_multi import backend
        >>> a, b = keras.ops.ones((2, 3)), keras.ops.ones((3, 5))
        >>> backend.operations(lambda: keras.ops.matmul(a, b))
        60.0
    """
    from keras_multi.backend.scope import ReadOnlyScope

    with ReadOnlyScope():
        counted: float | None = framework().operations(fn)
    return counted


def peak_memory() -> PeakMemory:
    """Tells the highest memory use of this process and its device so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if platform.system() == "Darwin" else 1024
    return PeakMemory(peak * unit, framework().device_peak_memory())


def seed(value: int) -> None:
    """Seeds Python, NumPy and the framework through Keras.

    It does what `keras.utils.set_random_seed` does, but does not import
    TensorFlow to seed it too where another backend runs without it: that
    would take seconds and hundreds of megabytes.

    Args:
        value: integer in `[0, 2**32)`.

    Raises:
        UsageError: if the value is out of range.
    """
    if not 0 <= value < 2**32:
        raise UsageError(f"seed must lie in [0, 2**32). Received: {value}")
    import keras

    with without_tensorflow():
        keras.utils.set_random_seed(value)


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Keeps Keras from importing TensorFlow where another backend runs.

    Keras imports it to seed it, and to ask of all that it serializes whether
    it is of TensorFlow, which nothing can be before it was imported. That
    takes seconds and hundreds of megabytes.
    """
    from keras.src.saving import serialization_lib
    from keras.src.utils import rng_utils

    modules: list[Any] = [rng_utils, serialization_lib]
    tensorflow = rng_utils.tf
    if "tensorflow" not in sys.modules and name() != "tensorflow":
        for module in modules:
            module.tf = types.SimpleNamespace(available=False)
    try:
        yield
    finally:
        for module in modules:
            module.tf = tensorflow


def set_matmul_precision(precision: str) -> None:
    """Makes the precision of float32 matrix products equal across backends.

    By default JAX and TensorFlow use TensorFloat-32 on recent NVIDIA GPUs
    and PyTorch does not (but does in convolutions), which makes a comparison
    unfair. It makes no difference on a CPU.

    Args:
        precision: `"float32"` (23 bits of mantissa) or `"tensorfloat32"`
            (10 bits, where the hardware has it).

    Raises:
        UsageError: if the precision is neither.
    """
    if precision not in MATMUL_PRECISIONS:
        raise UsageError(
            f"unknown matmul precision {precision!r}; "
            f"choose one of {', '.join(MATMUL_PRECISIONS)}"
        )
    framework().set_matmul_precision(precision)
