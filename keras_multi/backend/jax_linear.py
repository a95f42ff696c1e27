"""Matrix products on JAX with a matrix that is laid out once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from keras_multi.backend.lanes import (
    TILE,
    Columns,
    Lanes,
    fits,
    lanes,
    multiply,
)

ONE_LAYOUT = False  # see `packed`


def packed(weight: Any, alone: bool, compiled: bool) -> Any:
    """Copies a matrix `(out, in)` as `linear` multiplies fastest by it.

    Args:
        weight: `(out, in)`; on a CPU float32 stays as it is for one row.
        alone: whether most products have one row.
        compiled: of no importance here.
    """
    if not on_cpu():
        return weight
    if not alone:
        return Columns(jnp.copy(weight.astype(jnp.float32).T))
    if weight.dtype == jnp.bfloat16 and fits(weight, 16):
        return _lanes(weight, 16, jnp.uint16)
    return weight.astype(jnp.float32)


def packed_int8(values: Any, alone: bool) -> Any:
    """Copies integers `(out, in)` as `int8_linear` multiplies by them.

    Args:
        values: int8 `(out, in)`.
        alone: whether most products have one row.
    """
    if on_cpu() and alone and fits(values, 8):
        return _lanes(values, 8, jnp.uint8)
    return values


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Gives `x @ weight.T + bias`.

    XLA on a CPU reads a matrix `(out, in)` at the speed of the memory if it
    is the left factor and the right one is a vector. With more columns it is
    faster on the right, the other way round.

    Args:
        x: `(batch, tokens, in)`.
        weight: `(out, in)`, perhaps `packed`.
        bias: `(out,)`, or none.
    """
    batch, tokens, width = x.shape
    flat = x.reshape(-1, width)
    if isinstance(weight, Lanes):
        product = _by_lanes(flat, weight)
    elif isinstance(weight, Columns):
        product = flat.astype(weight.matrix.dtype) @ weight.matrix
    else:
        flat = flat.astype(weight.dtype)
        alone = len(flat) == 1
        product = weight @ flat[0] if alone else (weight @ flat.T).T
    product = product.astype(x.dtype).reshape(batch, tokens, -1)
    return product if bias is None else product + bias


def int8_linear(x: Any, values: Any, scales: Any, bias: Any = None) -> Any:
    """Gives `x @ (values * scales).T + bias`.

    Args:
        x: `(batch, tokens, in)`.
        values: int8 `(out, in)`, perhaps `packed_int8`.
        scales: `(out,)`, of the rows.
        bias: `(out,)`, or none.
    """
    batch, tokens, width = x.shape
    flat = x.reshape(-1, width)
    if isinstance(values, Lanes):
        product = _by_lanes(flat, values)
    else:
        # Else XLA would write the matrix down in float32 before the loop.
        values, flat = jax.lax.optimization_barrier((values, flat))
        wide = values.astype(jnp.float32)
        if len(flat) == 1:
            product = jnp.sum(wide * flat[0], axis=-1)
        else:
            product = (wide @ flat.T.astype(jnp.float32)).T
    product = (product * scales).astype(x.dtype).reshape(batch, tokens, -1)
    return product if bias is None else product + bias


def rows_of(table: Any, ids: Any) -> Any:
    """Looks rows of a table up.

    XLA on a CPU widens a table of half precision before each loop, but not
    its bits: 50 milliseconds for the tokens of GPT-2.

    Args:
        table: `(rows, width)`.
        ids: integers `(batch, tokens)`.
    """
    if table.dtype != jnp.bfloat16:
        return jnp.take(table, ids, axis=0)
    table, ids = jax.lax.optimization_barrier((table, ids))
    bits = jax.lax.bitcast_convert_type(table, jnp.uint16)
    found = jnp.take(bits, ids, axis=0)
    return jax.lax.bitcast_convert_type(found, jnp.bfloat16)


def on_cpu() -> bool:
    """Tells whether the default device is a CPU."""
    return jax.devices()[0].platform == "cpu"


def has_lanes(args: Any) -> bool:
    """Tells whether there are `Lanes` among arguments."""
    found = jax.tree.leaves(args, is_leaf=lambda x: isinstance(x, Lanes))
    return any(isinstance(x, Lanes) for x in found)


@functools.cache
def options_without_library() -> dict[str, str]:
    """Gives the options with which XLA leaves nothing to YNNPACK on a CPU.

    It takes sums out of the loops that widen narrow numbers, so that XLA
    writes those down before. Few rows in float32 XLA multiplies by a matrix
    as fast or faster; many rows slower.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    if not on_cpu():
        return {}
    try:
        jax.jit(jnp.negative, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:  # an XLA that does not know it
        return {}
    return options


def _lanes(weight: Any, bits: int, unsigned: Any) -> Lanes:
    numbers = jax.lax.bitcast_convert_type(weight, unsigned).astype(jnp.int32)
    rest = weight[len(weight) - len(weight) % TILE :].astype(jnp.float32)
    return lanes(numbers, bits, rest)


def _by_lanes(flat: Any, weight: Lanes) -> Any:
    # Else XLA would write the matrix down in float32 before the loop.
    words, x = jax.lax.optimization_barrier((weight.words, flat))
    x = x.astype(jnp.float32)

    def product() -> Any:
        return multiply(x, words, weight.rest, _bitcast)

    if len(x) == 1:
        return product()
    # Else XLA would write all matrices of a model down before the first
    # product, into memory that it has to fetch. It does not know the gate.
    gate = (jax.lax.bitcast_convert_type(x[0, 0], jnp.int32) | 1) != 0
    kind = jax.eval_shape(product)
    return jax.lax.cond(
        gate, product, lambda: jnp.zeros(kind.shape, kind.dtype)
    )


def _bitcast(bits: Any) -> Any:
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
