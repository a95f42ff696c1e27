"""What the limiter needs that does not depend on the backend."""

import itertools

import pytest

from benchmarks import limits
from benchmarks.limits import MIB, Limiter, Probe, cache_bytes


def cache(root, core, sharers, size):
    folder = root / f"cpu{core}" / "cache" / "index3"
    folder.mkdir(parents=True)
    (folder / "shared_cpu_list").write_text(sharers)
    (folder / "size").write_text(size)


def test_caches_that_cores_share_count_once(tmp_path):
    for core in range(4):
        sharers = "0-1\n" if core < 2 else "2-3\n"
        cache(tmp_path, core, sharers, "16384K\n")
    assert cache_bytes(tmp_path) == 2 * 16 * MIB


def test_unknown_cache(tmp_path):
    assert cache_bytes(tmp_path) == 32 * MIB
    cache(tmp_path, 0, "0", "large")
    assert cache_bytes(tmp_path) == 32 * MIB


@pytest.fixture
def limiter(monkeypatch):
    """A limiter whose samples take 4, 2 and 5 seconds, by turns of both."""
    times = itertools.chain.from_iterable(
        (0.0, seconds) for seconds in (4.0, 8.0, 2.0, 10.0, 5.0, 5.0)
    )
    monkeypatch.setattr(limits.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(limits, "_product", lambda *_: Probe(list, 40.0))
    monkeypatch.setattr(limits, "_traffic", lambda *_: Probe(list, 80.0))
    monkeypatch.setattr(limits.backend, "modes", lambda: ("xla",))
    return Limiter("float32")


def test_the_best_sample_counts(limiter):
    assert limiter.limits() is None
    rates = []
    for _ in range(3):
        limiter.sample()
        found = limiter.limits()
        rates.append((found.operations_per_second, found.bytes_per_second))
    assert rates == [(10.0, 10.0), (20.0, 10.0), (20.0, 16.0)]
