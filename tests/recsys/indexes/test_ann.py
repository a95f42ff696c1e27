import sys

import faiss
import numpy as np
import pytest

from keras_multi.errors import DataError, UsageError
from recsys import AnnIndex, BruteForceIndex

KINDS = {
    "hnsw": {"links": 16},
    "ivfpq": {"codes": 8},
    "ivfpq of codes alone": {"lists": 4, "codes": 8, "bits": 5, "refine": 1},
}


def normal(n, d=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype("float32")


def test_exact_index_agrees_with_faiss():
    c, q = normal(3000), normal(9, seed=1)
    flat = faiss.IndexFlatIP(8)
    flat.add(c)
    scores, rows = flat.search(q, 20)
    found = BruteForceIndex(20).index(c)(q)
    np.testing.assert_array_equal(found[1], rows)
    np.testing.assert_allclose(found[0], scores, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_tunes_excludes_saves_and_loads(kind, tmp_path):
    c, q = normal(1000), normal(16, seed=1)
    index = AnnIndex(10, kind=kind.split()[0], **KINDS[kind])
    index.index(c, range(5, 1005))
    exact = BruteForceIndex(10).index(c, range(5, 1005))
    target = 0.5 if kind.endswith("alone") else 0.95
    reached = index.tune(q, exact, target)
    assert reached == index.measured_recall(q, exact) >= target
    effort = index.effort
    if less := effort - max(1, effort // 16):
        index.effort = less
        assert index.measured_recall(q, exact) < target
    index.effort = effort
    truth = np.argsort(-(q @ c.T), axis=1)[:, :10] + 5
    _, ids = index(q)
    hits = [len(set(a) & set(b)) / 10 for a, b in zip(ids, truth, strict=True)]
    assert reached == pytest.approx(np.mean(hits))
    _, others = index(q, exclude=ids[:, :3])
    assert not any(
        set(a) & set(b[:3]) for a, b in zip(others, ids, strict=True)
    )
    index.save(tmp_path)
    again = AnnIndex.load(tmp_path)
    np.testing.assert_array_equal(again(q)[1], ids)
    assert again.effort == index.effort
    with pytest.raises(DataError, match="holds a AnnIndex"):
        BruteForceIndex.load(tmp_path)
    path = tmp_path / "index.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="damaged"):
        AnnIndex.load(tmp_path)


@pytest.mark.parametrize(("count", "lists"), [(30, 1), (1000, 25)])
def test_lists_by_default_have_forty_candidates(count, lists):
    index = AnnIndex(10, kind="ivfpq", codes=4).index(normal(count))
    assert faiss.extract_index_ivf(index._faiss).nlist == lists


def test_refined_scores_are_those_of_the_vectors():
    c, q = normal(1000), normal(5, seed=1)
    index = AnnIndex(10, kind="ivfpq", effort=4, lists=4, codes=4).index(c)
    scores, ids = index(q)
    wanted = np.take_along_axis(q @ c.T, ids, axis=1)
    np.testing.assert_allclose(scores, wanted, rtol=1e-5)


def test_recall_out_of_reach_leaves_the_effort():
    c = normal(500)
    index = AnnIndex(
        10, kind="ivfpq", effort=3, lists=4, codes=1, bits=5, refine=1
    ).index(c)
    with pytest.raises(ValueError, match="reaches"):
        index.tune(c[:20], BruteForceIndex(10).index(c), 1.0)
    assert index.effort == 3


def test_bad_input(monkeypatch):
    with pytest.raises(UsageError, match="empty"):
        AnnIndex()(normal(2))
    with pytest.raises(ValueError, match="kind"):
        AnnIndex(kind="tree")
    with pytest.raises(ValueError, match="codes must divide"):
        AnnIndex(kind="ivfpq", codes=3).index(normal(2000))
    with pytest.raises(ValueError, match="at least 1024"):
        AnnIndex(kind="ivfpq", codes=4, lists=1024).index(normal(1000))
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match=r"keras-multi\[ann\]"):
        AnnIndex()
