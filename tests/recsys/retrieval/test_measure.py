import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from recsys.retrieval import measure as module
from recsys.retrieval.measure import measure, ranks, summary

RNG = np.random.default_rng(0)
QUERIES, CORPUS = RNG.normal(size=(40, 5)), RNG.normal(size=(150, 5))
TRUE = RNG.integers(150, size=40)
SEEN = RNG.integers(-1, 150, size=(40, 60))


def scores(excluding):
    """Scores of all pairs; what the user has seen has none."""
    table = QUERIES @ CORPUS.T
    if excluding:
        for row, seen, true in zip(table, SEEN, TRUE, strict=True):
            row[[i for i in seen if i not in (-1, true)]] = -np.inf
    return table


@pytest.mark.parametrize("excluding", [False, True])
def test_metrics_equal_sorting_and_scikit_learn(excluding, monkeypatch):
    monkeypatch.setattr(module, "BATCH_SIZE", 16)
    got = measure(QUERIES, CORPUS, TRUE, SEEN)
    suffix = "_excluding_seen" if excluding else ""
    table = scores(excluding)
    order = np.argsort(-table, axis=1)
    relevant = np.arange(150) == TRUE[:, None]
    for k in (1, 5, 10, 50, 100):
        hits = (order[:, :k] == TRUE[:, None]).any(axis=1)
        assert got[f"top_{k}{suffix}"] == pytest.approx(hits.mean())
    finite = np.maximum(table, -1e6)
    for k in (10, 100):
        assert got[f"ndcg_{k}{suffix}"] == pytest.approx(
            ndcg_score(relevant, finite, k=k)
        )


def test_a_constant_score_finds_nothing():
    found = ranks(np.ones((3, 1)), np.ones((150, 1)), np.arange(3))
    assert found.tolist() == [149] * 3
    assert set(summary(found).values()) == {0.0}
