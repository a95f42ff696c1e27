"""A random number generator that depends on no compiler."""

from typing import Any

import numpy as np
from keras import ops

Words = tuple[Any, Any]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: Words, count: Words) -> Words:
    """Turns a key and a counter into random numbers.

    Threefry-2x32 of 20 rounds (Salmon et al., "Parallel random numbers: as
    easy as 1, 2, 3", 2011, section 4.2), the generator of JAX.

    Args:
        key: two uint32 scalars.
        count: two uint32 vectors.

    Returns:
        Two uint32 vectors.

    Example:
        >>> zero = keras.ops.zeros(1, "uint32")
        >>> [hex(int(x[0])) for x in threefry((zero, zero), (zero, zero))]
        ['0x6b200159', '0x99ba4efe']
    """
    keys = (*key, key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x, y = count[0] + keys[0], count[1] + keys[1]
    for turn in range(5):
        for bits in ROTATIONS[turn % 2]:
            x = x + y
            left = ops.left_shift(y, np.uint32(bits))
            y = x ^ left ^ ops.right_shift(y, np.uint32(32 - bits))
        x = x + keys[(turn + 1) % 3]
        y = y + keys[(turn + 2) % 3] + np.uint32(turn + 1)
    return x, y
