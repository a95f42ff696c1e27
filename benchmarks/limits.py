"""What the machine allows: its rates of arithmetic and of memory.

Both are measured on the backend and in the precision of a cell, in the same
rounds as the cell itself.
"""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.results import Limits
from keras_multi import backend

PRODUCT_SECONDS = 0.008
SMALLEST, LARGEST = 1024, 8192
COPIED_VALUES = 2**24
_TRIALS = 3


class Limiter:
    """Times a large matrix product and a large copy.

    Of the modes that a backend has, the faster is taken, except for
    `torch.compile`, which hands both to the same kernels as eager PyTorch.

    Args:
        precision: a Keras dtype policy; its compute dtype is measured.

    Example:
        >>> from benchmarks.limits import Limiter
        >>> limiter = Limiter("float32")
        >>> limiter.sample()
        >>> limiter.limits().operations_per_second > 1e6
        True
    """

    def __init__(self, precision: str) -> None:
        dtype = keras.DTypePolicy(precision).compute_dtype
        rng = np.random.default_rng(0)

        def tensor(*shape: int) -> Any:
            values = rng.standard_normal(shape, dtype="float32")
            return ops.cast(ops.convert_to_tensor(values), dtype)

        self._size = SMALLEST
        self._product = _fastest(ops.matmul, tensor(SMALLEST, SMALLEST))
        while (
            _seconds(self._product) < PRODUCT_SECONDS and self._size < LARGEST
        ):
            self._size *= 2
            self._product = _fastest(ops.matmul, tensor(self._size, self._size))
        array = tensor(COPIED_VALUES)
        width = 4 if dtype == "float32" else 2
        self._bytes = 2 * COPIED_VALUES * width
        self._copy = _fastest(ops.multiply, array)
        self._samples: dict[str, list[float]] = {"product": [], "copy": []}

    def sample(self) -> None:
        """Takes one sample of each."""
        self._samples["product"].append(_seconds(self._product))
        self._samples["copy"].append(_seconds(self._copy))

    def limits(self) -> Limits:
        """The best rates so far, and all samples.

        A product of two n by n matrices counts 2 n^3 operations, a copy the
        bytes that it reads and those that it writes.
        """
        return Limits(
            operations_per_second=2
            * self._size**3
            / min(self._samples["product"]),
            bytes_per_second=self._bytes / min(self._samples["copy"]),
            samples=self._samples,
        )


def _fastest(operation: Callable[..., Any], x: Any) -> Callable[[], Any]:
    """The operation on an array and itself, in the backend's fastest mode."""
    trials = []
    for mode in backend.modes():
        if mode == "compile":
            continue
        compiled = backend.jit(lambda x: operation(x, x), mode)

        def run(compiled: Callable[..., Any] = compiled) -> Any:
            return backend.synchronize(compiled(x))

        run()
        trials.append((min(_seconds(run) for _ in range(_TRIALS)), run))
    return min(trials, key=lambda trial: trial[0])[1]


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
