"""Limits that each backend reaches, beside NumPy's."""

import time
from collections.abc import Callable

import keras
import numpy as np
import pytest

from benchmarks import limits
from benchmarks.limits import Limiter


def best_seconds(run: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def test_limits_are_of_the_order_of_what_numpy_reaches():
    """NumPy multiplies on all cores too, and copies on one."""
    limiter = Limiter("float32")
    for _ in range(5):
        limiter.sample()
    found = limiter.limits()
    a = np.random.default_rng(0).random((1024, 1024), dtype="float32")
    product = 2 * 1024**3 / best_seconds(lambda: a @ a)
    assert 0.1 < found.operations_per_second / product < 10
    source = np.ones(2**26, "float32")
    target = np.zeros_like(source)
    copy = 2 * source.nbytes / best_seconds(lambda: np.copyto(target, source))
    assert 0.1 < found.bytes_per_second / copy < 10


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("of_a_layer", [False, True])
def test_product_is_computed(monkeypatch, dtype, of_a_layer):
    monkeypatch.setattr(limits, "PRODUCT_SECONDS", 0.0)
    keras_way = limits._as_keras(limits.backend.modes()[0])
    way = limits._as_layer if of_a_layer else keras_way
    probe = limits._product(dtype, way)
    size = limits.FIRST_SIZE
    assert probe.work == 2 * size**3
    a, b = (
        np.random.default_rng(seed).random((size, size), dtype="float32") + 0.5
        for seed in range(2)
    )
    result = probe.run()
    assert keras.backend.standardize_dtype(result.dtype) == dtype
    found = keras.ops.convert_to_numpy(keras.ops.cast(result, "float32"))
    np.testing.assert_allclose(found, a @ b, rtol=2e-2)


def test_traffic_goes_through_more_than_the_cache():
    probe = limits._traffic(limits.backend.modes()[0])
    results = probe.run()
    written = sum(4 * np.prod(x.shape) for x in results)
    assert probe.work == 2 * written
    assert written >= 256 * limits.MIB
    assert written >= limits.TIMES_CACHE * limits.cache_bytes()
    part = keras.ops.convert_to_numpy(results[-1])
    assert -1.5 <= part.min() < part.max() <= -0.5


def test_unknown_precision():
    with pytest.raises(ValueError, match="float33"):
        Limiter("float33")
