"""JAX: what the facade offers, in JAX's own terms."""

import functools
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax.extend import core

from keras_multi.backend.image import blend as blend
from keras_multi.backend.image import clip as clip
from keras_multi.backend.image import floor_to_bytes as floor_to_bytes
from keras_multi.backend.image import histogram as histogram
from keras_multi.backend.image import literal as literal
from keras_multi.backend.image import pack as pack
from keras_multi.backend.image import paste as paste
from keras_multi.backend.image import unpack as unpack
from keras_multi.backend.jax_linear import ONE_LAYOUT as ONE_LAYOUT
from keras_multi.backend.jax_linear import has_lanes, options_without_library
from keras_multi.backend.jax_linear import int8_linear as int8_linear
from keras_multi.backend.jax_linear import linear as linear
from keras_multi.backend.jax_linear import packed as packed
from keras_multi.backend.jax_linear import packed_int8 as packed_int8
from keras_multi.backend.jax_linear import rows_of as rows_of
from keras_multi.backend.steps import repeated

MODES = ("xla",)
COMPILED = "xla"
FLASH_ATTENTION = None  # Keras decides
GRADIENTS_REPLACE = True  # see `rows_that_train`
# Most places for which `layers.Conv2D` multiplies patches, see there. In
# milliseconds on one core, patches against XLA's convolution: 50 and 652 at 4
# places (1280 to 1280 channels), 86 and 224 at 32 (the same), 18 and 26 at 64
# (640 to 640), 15 and 18 at 256 (320 to 320), but 49 and 47 at 512 (the same),
# and 314 and 185 at 1024 (640 to 320).
MAX_PATCHES = {"float32": 256}
to_attend = None  # the type of attention is as good as any
has_layer_normalization = False  # in one operation
group_normalize = None  # XLA makes one program of what Keras does

# Primitives that may hold products, and that `operations` cannot look into.
OPAQUE = re.compile("pallas|ffi_call|dot|conv_|cudnn|custom_partitioning|rnn")


def device() -> tuple[str, str, int]:
    """Kind, name and memory in bytes of the default device."""
    first = jax.devices()[0]
    stats = first.memory_stats() or {}
    kind = {"cuda": "gpu", "rocm": "gpu"}.get(first.platform, first.platform)
    return kind, first.device_kind, int(stats.get("bytes_limit", 0))


def synchronize(x: Any) -> None:
    """Blocks until every array in `x` is there; effects too if `x` is None."""
    if x is None:
        jax.effects_barrier()
        for array in jax.live_arrays():
            array.block_until_ready()
    else:
        jax.block_until_ready(x)


def jit(fn: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """Compiles with XLA, the only mode."""
    compiled: Callable[..., Any] = jax.jit(fn)
    return compiled


def inference(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles with XLA."""
    compiled: Callable[..., Any] = jax.jit(fn)
    return compiled


def loop(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function that loops inside with XLA."""
    plain, by_lanes = jax.jit(fn), token_loop(fn)

    def call(*args: Any) -> Any:
        return (by_lanes if has_lanes(args) else plain)(*args)

    return call


def token_loop(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a loop whose turns multiply few rows by packed matrices."""
    compiled: Callable[..., Any] = jax.jit(
        fn, compiler_options=options_without_library()
    )
    return compiled


def bind(
    model: Any, fn: Callable[..., Any], mode: str | None, static: bool
) -> Callable[..., Any]:
    """Compiles with XLA, the weights as arguments of the program."""

    def stateless(values: Sequence[Any], *args: Any) -> Any:
        mapping = list(zip(model.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return fn(*args)

    compiled = jax.jit(stateless)

    def bound(*args: Any) -> Any:
        return compiled([v.value for v in model.variables], *args)

    return bound


def bind_loop(model: Any, step: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles the loop as one program."""
    return bind(model, repeated(step), "xla", static=True)


def constant(x: Any) -> Any:
    """Copies an array: training gives the memory of variables away."""
    return jnp.copy(x)


attend = None  # XLA joins the parts of an attention


def compiled_step(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the function: the loop around it is compiled."""
    return fn


def record_steps(model: Any) -> None:
    """Does nothing: the steps of `Model.fit` are compiled."""


def packed_kernel() -> None:
    """Gives nothing: kernels are laid out as the compiler wants them."""


def write(buffer: Any, update: Any, start: Sequence[Any]) -> Any:
    """Gives the buffer with a part replaced; in place inside a loop."""
    return jax.lax.dynamic_update_slice(buffer, update, start)


def stable_top_k(x: Any, k: int) -> tuple[Any, Any]:
    """Top k of the last axis; `lax.top_k` puts the lower index first."""
    values, positions = jax.lax.top_k(x, k)
    return values, positions


def maxima_of_products(queries: Any, chunks: Sequence[Any]) -> Any:
    """Elementwise maximum of the products with some matrices of one shape."""
    products = (queries @ chunk.astype("float32").T for chunk in chunks)
    return functools.reduce(jax.numpy.maximum, products)


def value_and_gradients(
    fn: Callable[[], Any], variables: list[Any]
) -> tuple[Any, list[Any]]:
    """Differentiates through Keras's stateless scope."""

    def stateless(values: list[Any]) -> Any:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return fn()

    value, gradients = jax.value_and_grad(stateless)(
        [v.value for v in variables]
    )
    return value, gradients


def with_dense_gradient(x: Any) -> Any:
    """Gives `x`: gradients are dense."""
    return x


def rows_that_train(
    anchor: Any,
    state: Sequence[Any],
    ids: Any,
    changes: Callable[..., Any] | None,
) -> Any:
    """Gives rows of a table, whose "gradient" is the table trained.

    Nothing can change in place here. Keras lets a variable with
    `overwrite_with_gradient` take the value of its gradient, and XLA writes
    into a table that was donated.

    Args:
        anchor: not used.
        state: Keras variables, the table and its accumulator.
        ids: integers `(n,)`.
        changes: from the ids and the gradients of the rows to rows, what is
            to be added to the accumulator, and a function from its rows that
            results to what is to be added to the table; `None` if nothing
            changes.

    Raises:
        ValueError: if the table was looked up in the same trace before and
            either lookup trains: the sum of two such gradients means nothing.
    """
    values = [variable.value for variable in state]

    @jax.custom_vjp
    def lookup(table: Any, accumulator: Any, ids: Any) -> Any:
        return table[ids]

    def forward(table: Any, accumulator: Any, ids: Any) -> Any:
        _check_single(state[0], values[0], changes is not None)
        return table[ids], (table, accumulator, ids)

    def train(kept: Any, gradients: Any) -> Any:
        table, accumulator, ids = kept
        if changes is None:
            return table, accumulator, None
        rows, addend, step = changes(ids, gradients)
        # Were it read before as well, XLA would copy it to change the copy.
        accumulator = accumulator.at[rows].add(addend)
        return table.at[rows].add(step(accumulator[rows])), accumulator, None

    lookup.defvjp(forward, train)
    return lookup(*values, ids)


def _check_single(variable: Any, table: Any, trains: bool) -> None:
    before, trained = getattr(variable, "looked_up", (lambda: None, False))
    if before() is table and (trains or trained):
        raise ValueError(
            "a table that trains its rows can be looked up once in a training "
            f"step; join the ids. Received: a second lookup in {variable.path}"
        )
    variable.looked_up = weakref.ref(table), trains


def stage(
    gate: Any, fn: Callable[[], Any], shape: Sequence[int], dtype: str
) -> Any:
    """Computes `fn()` as a loop of its own.

    XLA on a CPU merges a gather into whatever reads its result, and computes
    it anew for each reader, also through an optimization barrier. It keeps
    apart what depends on a condition.

    Args:
        gate: a scalar that is true, and that XLA cannot know to be.
        fn: gives a tensor.
        shape: of the tensor.
        dtype: of the tensor.
    """
    if not isinstance(gate, jax.core.Tracer):
        return fn()
    return jax.lax.cond(gate, fn, lambda: jnp.zeros(shape, dtype))


def alone(layer: Any, x: Any, *args: Any) -> Any:
    """Calls a layer with half-precision weights as a program of its own.

    XLA on a CPU computes products of half precision in float32, and writes
    all weights of a program down in float32 before the first: 3.4 GB for the
    UNet of Stable Diffusion 1.4. Those of what depends on a condition are
    written down when it is computed, into memory that is used again.

    Args:
        layer: what gives one tensor.
        x: a tensor.
        *args: further arguments.
    """
    fn = functools.partial(layer, x, *args)
    narrow = layer.variable_dtype in ("bfloat16", "float16")
    if not narrow or not isinstance(x, jax.core.Tracer) or device()[0] != "cpu":
        return fn()
    first = x[(0,) * x.ndim].astype(jnp.bfloat16)
    bits = jax.lax.bitcast_convert_type(first, jnp.uint16)
    gate = (bits | 1) != 0  # true, but XLA does not know
    kind = jax.eval_shape(fn)
    return jax.lax.cond(gate, fn, lambda: jnp.zeros(kind.shape, kind.dtype))


def uniform(shape: Sequence[Any], seed: Any) -> Any:
    """Draws float32 from [0, 1)."""
    return keras.random.uniform(shape, dtype="float32", seed=seed)


def gather(x: Any, index: Any) -> Any:
    """Gives `x[index]` for indices that are known to be in range."""
    return x.at[index].get(mode="promise_in_bounds")


def feed(batches: Any) -> Any:
    """Leaves a data set as it is."""
    return batches


def fuses(variables: Sequence[Any]) -> bool:
    """Tells whether this module updates such weights faster than Keras."""
    return False


def device_peak_memory() -> int | None:
    """Peak bytes in use on the accelerator, None on a CPU."""
    stats = jax.devices()[0].memory_stats()
    return int(stats["peak_bytes_in_use"]) if stats else None


def set_matmul_precision(precision: str) -> None:
    """Sets the default precision of products of float32 matrices."""
    jax.config.update("jax_default_matmul_precision", precision)


def operations(fn: Callable[[], Any]) -> float | None:
    """Walks the jaxpr; None at a kernel or a loop of unknown length."""
    try:
        return _count(jax.make_jaxpr(fn)().jaxpr)
    except _UnknownError:
        return None


class _UnknownError(Exception):
    """A part of the program whose operations cannot be counted."""


def _count(jaxpr: core.Jaxpr) -> float:
    return float(sum(_count_equation(equation) for equation in jaxpr.eqns))


def _count_equation(equation: core.JaxprEqn) -> float:
    kind, params = equation.primitive.name, equation.params
    if kind == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        depth = prod(shape[axis] for axis in contracted)
        return 2.0 * prod(equation.outvars[0].aval.shape) * depth
    if kind == "conv_general_dilated":
        return _count_convolution(equation)
    if OPAQUE.search(kind):
        raise _UnknownError
    counts = [_count(inner) for inner in _inner_jaxprs(params)]
    if kind == "cond":
        if len(set(counts)) > 1:
            raise _UnknownError
        return counts[0]
    if kind == "while" and any(counts):
        raise _UnknownError
    return sum(counts) * (params["length"] if kind == "scan" else 1)


def _count_convolution(equation: core.JaxprEqn) -> float:
    """Counts triples of an input, a tap and an output.

    Two of a triple decide the third. In the forward direction there are the
    fewest pairs of outputs and taps; a gradient is a convolution too, over
    padding and gaps, and has the fewest pairs of others.
    """
    inputs, kernel = (v.aval.shape for v in equation.invars)
    outputs = equation.outvars[0].aval.shape
    at = equation.params["dimension_numbers"]
    taps, n_in, n_out = (
        prod(shape[axis] for axis in spec[2:])
        for shape, spec in (
            (kernel, at.rhs_spec),
            (inputs, at.lhs_spec),
            (outputs, at.out_spec),
        )
    )
    triples = min(n_out * taps, n_in * taps, n_in * n_out)
    batch, features = (outputs[axis] for axis in at.out_spec[:2])
    return 2.0 * triples * batch * features * kernel[at.rhs_spec[1]]


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    for value in jax.tree.leaves(
        params, is_leaf=lambda x: isinstance(x, core.Jaxpr | core.ClosedJaxpr)
    ):
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
