import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_multi.errors import DataError, UsageError
from recsys import BruteForceIndex, StreamingIndex
from recsys.indexes import topk
from recsys.indexes.topk import ExactSearch, split, stable_top_k


def integers(n, d, seed=0):
    """Products of small integers are exact in every dtype; ties abound."""
    rng = np.random.default_rng(seed)
    return rng.integers(-2, 3, (n, d)).astype("float32")


def oracle(queries, candidates, k):
    scores = queries @ candidates.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def check(found, wanted):
    np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("n", "k", "b"), [(5000, 100, 5), (4999, 7, 33), (50, 50, 1), (41, 40, 2)]
)
def test_equals_a_stable_sort(n, k, b, dtype):
    c, q = integers(n, 16), integers(b, 16, 1)
    check(BruteForceIndex(k, dtype=dtype).index(c)(q), oracle(q, c, k))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_equals_a_stable_sort_of_many(dtype):
    c, q = integers(100_000, 64), integers(8, 64, 1)
    check(BruteForceIndex(100, dtype=dtype).index(c)(q), oracle(q, c, 100))


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 400),
    chunks=st.integers(1, 12),
    k=st.integers(1, 12),
    spread=st.sampled_from([1, 1000]),
    seed=st.integers(0, 1000),
)
def test_groups_lose_nothing(n, chunks, k, spread, seed):
    """With a spread of 1 most queries are tied, with 1000 few are."""
    k = min(k, n)
    rng = np.random.default_rng(seed)
    c = rng.integers(-spread, spread + 1, (n, 2)).astype("float32")
    q = integers(3, 2, seed)
    parts = [ops.convert_to_tensor(p) for p in split(c, chunks)]
    check(ExactSearch()(q, parts, k), oracle(q, c, k))


@pytest.mark.parametrize("n", [4000, 4039])
def test_equals_a_sort_of_real_scores(n):
    """Ties are rare here; gaps are far beyond the rounding of float32."""
    c, q = np.random.default_rng(0).normal(size=(n, 16)), integers(70, 16, 1)
    c = np.round(c * 64).astype("float32") / 64
    check(BruteForceIndex(20).index(c)(q), oracle(q, c, 20))


def test_only_tied_queries_are_searched_again(monkeypatch):
    again = []

    def spy(queries, parts, k):
        again.append(queries.shape[0])
        return stable_top_k(queries, parts, k)

    monkeypatch.setattr(topk, "stable_top_k", spy)
    c = np.arange(2000, dtype="float32")[:, None] * [[1.0, 0.0]]
    q = np.array([[1, 0], [0, 1], [-1, 0]], "float32")
    check(BruteForceIndex(9).index(c)(q), oracle(q, c, 9))
    assert again == [1]


@pytest.mark.parametrize("chunk", [1, 7, 100, 999, 1000, 5000])
def test_streaming_equals_brute_force(chunk):
    c, q = integers(300 if chunk == 1 else 1000, 8), integers(3, 8, 1)
    check(StreamingIndex(20, chunk=chunk).index(c)(q), oracle(q, c, 20))


def test_streams_a_memory_map_and_chunks_with_ids(tmp_path):
    c, q = integers(500, 8), integers(3, 8, 1)
    np.save(tmp_path / "c.npy", c)
    mapped = np.load(tmp_path / "c.npy", mmap_mode="r")
    check(StreamingIndex(9, chunk=64).index(mapped)(q), oracle(q, c, 9))
    ids = np.array([f"i{i}" for i in range(500)])
    chunks = [(c[:200], ids[:200]), (c[200:], ids[200:])]
    for source in (chunks, lambda: iter(chunks)):
        _, found = StreamingIndex(9).index(source)(q)
        np.testing.assert_array_equal(found, ids[oracle(q, c, 9)[1]])


@pytest.mark.parametrize("kind", [BruteForceIndex, StreamingIndex])
def test_excludes_and_pads(kind):
    c, q = integers(200, 4), integers(2, 4, 1)
    _, order = oracle(q, c, 200)
    index = kind(5).index(c)
    _, ids = index(q, exclude=[order[0, :3], [-1, 10**6]])
    np.testing.assert_array_equal(ids, [order[0, 3:8], order[1, :5]])
    small = kind(3).index(c[:3], ids=["a", "b", "c"])
    scores, ids = small(q, exclude=[["a", "b", None], ["c", "a", "b"]])
    assert ids.tolist() == [["c", "", ""], ["", "", ""]]
    assert np.isneginf(scores[1]).all()


def test_cosine():
    c = np.random.default_rng(0).normal(size=(300, 8)).astype("float32")
    unit = c / np.linalg.norm(c, axis=1, keepdims=True)
    found = BruteForceIndex(9, metric="cosine").index(c)(3 * c[:4])
    check(found, oracle(unit[:4], unit, 9))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_saves_and_loads(tmp_path, dtype):
    c, q = integers(300, 4), integers(2, 4, 1)
    index = BruteForceIndex(5, "cosine", dtype).index(c, range(7, 307))
    index.save(tmp_path)
    check(BruteForceIndex.load(tmp_path)(q), index(q))
    path = tmp_path / "index.npz"
    data = path.read_bytes()
    for damaged in (
        data[: len(data) // 2],
        b"",
        data[:900] + b"xx" + data[902:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            BruteForceIndex.load(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="missing"):
        BruteForceIndex.load(tmp_path)


def test_streaming_saves_and_maps(tmp_path):
    c, q = integers(300, 4), integers(2, 4, 1)
    index = StreamingIndex(5, chunk=70).index(c, range(7, 307))
    for _ in range(2):
        index.save(tmp_path)
    (path,) = tmp_path.glob("candidates-*.npy")
    check(StreamingIndex.load(tmp_path)(q), index(q))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="damaged"):
        StreamingIndex.load(tmp_path)


def test_bad_input():
    c = integers(10, 4)
    index = BruteForceIndex(3)
    with pytest.raises(UsageError, match="empty"):
        index(c)
    for bad in (c[0], c[:0], c * np.nan):
        with pytest.raises(ValueError, match="candidates must"):
            index.index(bad)
    for ids in ([1] * 10, range(9), range(-1, 9), np.ones(10)):
        with pytest.raises(ValueError, match="ids must"):
            index.index(c, ids)
    index.index(c)
    for k in (0, -1, 1.5, 11):
        with pytest.raises(ValueError, match="k must"):
            index(c, k)
    with pytest.raises(ValueError, match="4 columns"):
        index(c[:, :3])
    with pytest.raises(ValueError, match="metric"):
        BruteForceIndex(metric="l2")
    with pytest.raises(ValueError, match="exclude"):
        index(c, exclude=[[1]])
    with pytest.raises(ValueError, match="iterator"):
        StreamingIndex().index(iter([(c, range(10))]))
