"""Matrix products on TensorFlow with a matrix that is laid out once."""

from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import (
    xla_optimization_barrier,
)

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
        return Columns(tf.transpose(tf.cast(weight, tf.float32)))
    if weight.dtype == tf.bfloat16 and fits(weight, 16):
        return _lanes(weight, 16, tf.uint16)
    return tf.cast(weight, tf.float32)


def packed_int8(values: Any, alone: bool) -> Any:
    """Copies integers `(out, in)` as `int8_linear` multiplies by them.

    Args:
        values: int8 `(out, in)`.
        alone: whether most products have one row.
    """
    if on_cpu() and alone and fits(values, 8):
        return _lanes(values, 8, tf.uint8)
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
    flat = tf.reshape(x, (-1, width))
    if isinstance(weight, Lanes):
        product = _by_lanes(flat, weight)
    elif isinstance(weight, Columns):
        product = tf.matmul(tf.cast(flat, weight.matrix.dtype), weight.matrix)
    elif batch == tokens == 1:
        product = tf.linalg.matvec(weight, tf.cast(flat[0], weight.dtype))
    else:
        flat = tf.cast(flat, weight.dtype)
        product = tf.transpose(tf.matmul(weight, flat, transpose_b=True))
    product = tf.reshape(tf.cast(product, x.dtype), (batch, tokens, -1))
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
    flat = tf.reshape(x, (-1, width))
    if isinstance(values, Lanes):
        product = _by_lanes(flat, values)
    else:
        # Else XLA would write the matrix down in float32 before the loop.
        values, flat = xla_optimization_barrier(
            [values, tf.cast(flat, tf.float32)]
        )
        wide = tf.cast(values, tf.float32)
        if batch == tokens == 1:
            product = tf.reduce_sum(wide * flat[0], axis=-1)
        else:
            product = tf.transpose(tf.matmul(wide, flat, transpose_b=True))
    product = tf.cast(product * tf.cast(scales, tf.float32), x.dtype)
    product = tf.reshape(product, (batch, tokens, -1))
    return product if bias is None else product + bias


def rows_of(table: Any, ids: Any) -> Any:
    """Looks rows of a table up.

    XLA on a CPU widens a table of half precision before each loop, but not
    its bits.

    Args:
        table: `(rows, width)`.
        ids: integers `(batch, tokens)`.
    """
    if table.dtype != tf.bfloat16:
        return tf.gather(table, ids)
    table, ids = xla_optimization_barrier([table, ids])
    found = tf.gather(tf.bitcast(table, tf.uint16), ids)
    return tf.bitcast(found, tf.bfloat16)


def on_cpu() -> bool:
    """Tells whether there is no GPU."""
    return not tf.config.list_physical_devices("GPU")


def _lanes(weight: Any, bits: int, unsigned: Any) -> Lanes:
    numbers = tf.cast(tf.bitcast(weight, unsigned), tf.int32)
    rows = weight.shape[0]
    rest = tf.cast(weight[rows - rows % TILE :], tf.float32)
    return lanes(numbers, bits, rest)


def _by_lanes(flat: Any, weight: Lanes) -> Any:
    # Else XLA would write the matrix down in float32 before the loop.
    words, flat = xla_optimization_barrier([weight.words, flat])
    return multiply(
        tf.cast(flat, tf.float32),
        words,
        weight.rest,
        lambda bits: tf.bitcast(bits, tf.float32),
    )
