"""Narrow numbers of a matrix in words of 32 bits, for XLA on a CPU.

XLA computes a product of bfloat16 or int8 in float32, and writes the matrix
down in float32 before. A sum of products it computes in one loop, where it
widens what it has read, but it does not read vectors of narrow numbers. So a
word holds some of them, from parts of a row that are far apart, and shifts
make a vector of each.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

TILE = 32  # rows side by side
# In a longer sum XLA joins the terms in one loop, and adds in another, which
# is faster. In microseconds on one core, a matrix (3072, 768) of bfloat16 on
# JAX: 187 for 48 sums of 16 terms, 196 for 64 of 12, but 406 for 32 of 24; 217
# in float32. A matrix (768, 3072): 166 for 128 of 24, 188 for 192 of 16.
LONGEST = 32
TERMS = 24  # most of them in the first


class Lanes(NamedTuple):
    """A matrix `(out, in)` of bfloat16 or int8."""

    words: Any  # int32 (out // TILE, groups, depth, TILE)
    rest: Any  # float32 (out % TILE, in), the last rows


class Columns(NamedTuple):
    """A matrix that a product has on its right."""

    matrix: Any  # float32 (in, out)


def fits(weight: Any, bits: int) -> bool:
    """Tells whether a matrix `(out, in)` can be laid out in words.

    Args:
        weight: the matrix.
        bits: of a number.
    """
    rows, width = weight.shape
    return rows >= TILE and width % (32 // bits) == 0


def lanes(numbers: Any, bits: int, rest: Any) -> Lanes:
    """Lays numbers out in words.

    Args:
        numbers: their bits, int32 `(out, in)`.
        bits: of a number.
        rest: the last `out % TILE` rows, in float32.
    """
    rows, width = numbers.shape
    count = 32 // bits
    depth = width // count
    most = TERMS // count
    groups = max(
        n
        for n in range(1, most + 1)
        if depth % n == 0 and (n == 1 or depth // n > LONGEST)
    )
    shape = (rows // TILE, TILE, count, groups, depth // groups)
    parts = ops.reshape(numbers[: rows - rows % TILE], shape)
    words = parts[:, :, 0]
    for lane in range(1, count):
        words = words | ops.left_shift(parts[:, :, lane], bits * lane)
    return Lanes(ops.transpose(words, (0, 2, 3, 1)), rest)


def multiply(
    x: Any,
    words: Any,
    rest: Any,
    bitcast: Callable[[Any], Any],
) -> Any:
    """Multiplies by a matrix in words.

    Args:
        x: float32 `(rows, in)`.
        words: those of `Lanes`.
        rest: that of `Lanes`.
        bitcast: gives the float32 that has the bits of an int32.

    Returns:
        Float32 `(rows, out)`.
    """
    rows, width = x.shape
    tiles, groups, depth, tile = words.shape
    count = width // (groups * depth)
    lane = _bfloat16 if count == 2 else _int8
    if rows == 1:
        factors = ops.reshape(x, (count, groups, 1, depth, 1))
        terms = [
            lane(words[:, group], i, bitcast) * factors[i, group]
            for group in range(groups)
            for i in range(count)
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        product = ops.reshape(ops.sum(total, axis=1), (1, -1))
    else:
        words = ops.reshape(words, (tiles, groups * depth, tile))
        words = ops.transpose(words, (1, 0, 2))
        parts = [lane(words, i, bitcast) for i in range(count)]
        matrix = ops.reshape(ops.concatenate(parts, axis=0), (width, -1))
        product = ops.matmul(x, matrix)
    if not rest.shape[0]:
        return product
    last = ops.matmul(x, ops.transpose(rest))
    return ops.concatenate([product, last], axis=1)


def _bfloat16(words: Any, lane: int, bitcast: Callable[[Any], Any]) -> Any:
    return bitcast(words & -65536 if lane else ops.left_shift(words, 16))


def _int8(words: Any, lane: int, bitcast: Callable[[Any], Any]) -> Any:
    shifted = ops.left_shift(words, 24 - 8 * lane) if lane < 3 else words
    return ops.cast(ops.right_shift(shifted, 24), "float32")
