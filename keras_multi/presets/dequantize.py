"""How the values of a GGUF tensor are written, and how to read them.

The quantised kinds write 32 values as a block: one or two float16 numbers and
32 small integers. The formulas are those of `ggml-common.h` and
`dequantize_row_*` in https://github.com/ggml-org/ggml.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

BLOCK = 32  # values in a quantised block


class Kind(NamedTuple):
    """A way to write values.

    Attributes:
        name: as in the format.
        values: number of values in a block.
        bytes: size of a block.
        decode: turns blocks, uint8 `(blocks, bytes)`, into values, float32
            `(blocks, values)`.
    """

    name: str
    values: int
    bytes: int
    decode: Callable[[np.ndarray], np.ndarray]


def _float32(blocks: np.ndarray) -> np.ndarray:
    return blocks.view("<f4").astype("float32")


def _float16(blocks: np.ndarray) -> np.ndarray:
    return blocks.view("<f2").astype("float32")


def _bfloat16(blocks: np.ndarray) -> np.ndarray:
    """Puts the 16 bits before 16 zeros."""
    bits = blocks.view("<u2").astype("uint32") << 16
    return bits.view("float32")


def _q4_0(blocks: np.ndarray) -> np.ndarray:
    """Gives `d (q - 8)`; d is float16."""
    return _float16(blocks[:, :2]) * (_nibbles(blocks[:, 2:]) - 8)


def _q4_1(blocks: np.ndarray) -> np.ndarray:
    """Gives `d q + m`; d and m are float16."""
    scale, smallest = _float16(blocks[:, :2]), _float16(blocks[:, 2:4])
    return scale * _nibbles(blocks[:, 4:]) + smallest


def _q8_0(blocks: np.ndarray) -> np.ndarray:
    """Gives `d q`; d is float16 and q int8."""
    return _float16(blocks[:, :2]) * blocks[:, 2:].view("int8")


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """Gives the lower halves of all bytes, then the upper ones."""
    halves = np.concatenate([packed & 15, packed >> 4], axis=1)
    return halves.astype("float32")


KINDS = {
    0: Kind("F32", 1, 4, _float32),
    1: Kind("F16", 1, 2, _float16),
    2: Kind("Q4_0", BLOCK, 2 + 16, _q4_0),
    3: Kind("Q4_1", BLOCK, 4 + 16, _q4_1),
    8: Kind("Q8_0", BLOCK, 2 + 32, _q8_0),
    30: Kind("BF16", 1, 2, _bfloat16),
}
