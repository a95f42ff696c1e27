"""What the machine reaches at best: matrix products and memory traffic.

Measured in the process of a cell, between its rounds, with the same cores,
framework and precision, so that a share of the limit compares like with like.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.results import Limits
from keras_multi import backend
from keras_multi.layers import Dense

FIRST_SIZE = 256
PRODUCT_SECONDS = 0.01
TIMES_CACHE = 4
MIB = 2**20

# Of two matrices, to what multiplies them.
Way = Callable[[Any, Any], Callable[[], Any]]


@dataclass
class Probe:
    """Work that can be timed.

    Attributes:
        run: does the work and gives the tensors to wait for.
        work: operations or bytes.
    """

    run: Callable[[], Any]
    work: float

    def seconds(self) -> float:
        """Times the work once."""
        start = time.perf_counter()
        backend.synchronize(self.run())
        return time.perf_counter() - start

    def best_seconds(self) -> float:
        """Shortest of three times, after one that compiles and warms up."""
        self.seconds()
        return min(self.seconds() for _ in range(3))


class Limiter:
    """Samples the machine's limits, on the backend in use.

    The best rate of all samples counts: what slows a sample down is no limit.
    Making one takes a second or two and two large arrays; do so after the
    peak memory of the cell has been read.

    Args:
        precision: a Keras dtype policy; its compute dtype is that of the
            matrix product. The memory traffic is float32, as it is bytes
            that count.

    Example:
        >>> from benchmarks.limits import Limiter
        >>> limiter = Limiter("float32")
        >>> limiter.sample()
        >>> limiter.limits().bytes_per_second > 1e8
        True
    """

    def __init__(self, precision: str) -> None:
        dtype = keras.dtype_policies.get(precision).compute_dtype
        modes = [mode for mode in backend.modes() if mode != "compile"]
        ways = [_as_keras(mode) for mode in modes]
        if backend.framework().packed_kernel() is not None:
            ways.append(_as_layer)
        self._product = _faster([_product(dtype, way) for way in ways])
        self._traffic = _faster([_traffic(mode) for mode in modes])
        self._seconds: dict[str, list[float]] = {"product": [], "copy": []}

    def sample(self) -> None:
        """Takes one sample of each; on a CPU about 50 ms in all."""
        self._seconds["product"].append(self._product.seconds())
        self._seconds["copy"].append(self._traffic.seconds())

    def limits(self) -> Limits | None:
        """Best rates so far and all samples, `None` before the first."""
        product, copy = self._seconds["product"], self._seconds["copy"]
        if not product:
            return None
        return Limits(
            operations_per_second=self._product.work / min(product),
            bytes_per_second=self._traffic.work / min(copy),
            samples=self._seconds,
        )


def _faster(probes: list[Probe]) -> Probe:
    if len(probes) == 1:
        return probes[0]
    return max(probes, key=lambda probe: probe.work / probe.best_seconds())


def _product(dtype: str, way: Way) -> Probe:
    """Product of two square matrices, large enough to be timed.

    The size doubles until a product takes 10 ms, so that it takes at most
    eight times as long, or until a matrix fills a fiftieth of the memory.
    """
    size = FIRST_SIZE
    while True:
        a, b = (_random((size, size), dtype, seed) for seed in range(2))
        probe = Probe(way(a, b), 2.0 * size**3)
        if probe.best_seconds() >= PRODUCT_SECONDS:
            return probe
        if 4 * (2 * size) ** 2 > _memory_bytes() / 50:
            return probe
        size *= 2


def _as_keras(mode: str) -> Way:
    multiply = backend.jit(ops.matmul, mode)
    return lambda a, b: lambda: multiply(a, b)


def _as_layer(a: Any, b: Any) -> Callable[[], Any]:
    """Multiplies as a model does, by a matrix that was laid out before.

    PyTorch gives other products to MKL, which on a processor of AMD reaches
    half of what oneDNN does: 108 and 233 GFLOP/s on one core.
    """
    dense = Dense(b.shape[1], use_bias=False, dtype=a.dtype)
    dense.build(a.shape)
    dense.kernel.assign(b)
    multiply = backend.bind(dense, dense, static=True)
    return lambda: multiply(a)


def _traffic(mode: str) -> Probe:
    """Reads one large array and writes another, both larger than the cache.

    On a CPU both are in parts of 16 MiB, each of which is replaced in turn.
    An output of more than 32 MiB would be new memory from the system each
    time (glibc's `mmap` threshold), and its pages four times as slow.
    """
    if backend.device().kind == "cpu":
        wanted = max(256 * MIB, TIMES_CACHE * cache_bytes())
        part = 16 * MIB
    else:
        wanted = part = 1024 * MIB
    total = min(wanted, _memory_bytes() // 16)
    part = min(part, total)
    negate = backend.jit(ops.negative, mode)
    sources = [
        _random((part // 4,), "float32", seed)
        for seed in range(math.ceil(total / part))
    ]
    results = [negate(source) for source in sources]

    def run() -> list[Any]:
        for i, source in enumerate(sources):
            results[i] = negate(source)
        return results

    return Probe(run, 2.0 * len(sources) * 4 * (part // 4))


def _random(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    values = np.random.default_rng(seed).random(shape, dtype="float32") + 0.5
    return backend.synchronize(ops.convert_to_tensor(values, dtype))


def _memory_bytes() -> int:
    """Memory of the device, 4 GiB where the framework does not tell."""
    return backend.device().memory_bytes or 4096 * MIB


def cache_bytes(root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Size of all last-level caches together, 32 MiB where unknown.

    Args:
        root: where Linux describes the processors.
    """
    caches = {}
    try:
        for size in root.glob("cpu[0-9]*/cache/index3/size"):
            sharers = (size.parent / "shared_cpu_list").read_text()
            caches[sharers] = int(size.read_text().strip().rstrip("K"))
    except (OSError, ValueError):
        caches = {}
    return sum(caches.values()) * 1024 or 32 * MIB
