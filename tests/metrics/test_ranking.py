import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from keras_multi import metrics

RNG = np.random.default_rng(0)
SCORES = RNG.permutation(60).reshape(6, 10).astype("float32")
LABELS = RNG.integers(0, 4, (6, 10)).astype("float32")
LABELS[:, :4] = 0
LABELS[0, 5] = 3
RANKED = np.take_along_axis(LABELS, np.argsort(-SCORES), 1) > 0


@pytest.mark.parametrize("k", [None, 1, 3, 100])
def test_ndcg_equals_scikit_learn(k):
    ours = float(metrics.NDCG(k)(LABELS, SCORES))
    theirs = ndcg_score(2**LABELS - 1, SCORES, k=k)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    ours = float(metrics.NDCG(k, gain="linear")(LABELS, SCORES))
    theirs = ndcg_score(LABELS, SCORES, k=k)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_map_equals_scikit_learn():
    ours = float(metrics.MeanAveragePrecision()(LABELS, SCORES))
    theirs = label_ranking_average_precision_score(LABELS > 0, SCORES)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_map_at_k_of_a_list_by_hand():
    labels, scores = np.array([[1, 0, 1, 1]]), -np.arange(4.0)[None]
    ours = float(metrics.MeanAveragePrecision(3)(labels, scores))
    np.testing.assert_allclose(ours, (1 + 2 / 3) / 3, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_others_equal_the_definition(k):
    top = RANKED[:, :k]
    first = [np.flatnonzero(row)[:1] + 1 for row in top]
    for metric, expected in (
        (metrics.RecallAtK(k), np.mean(top.sum(1) / RANKED.sum(1))),
        (metrics.HitRate(k), np.mean(top.any(1))),
        (metrics.MeanReciprocalRank(k), np.mean([sum(1 / p) for p in first])),
    ):
        value = float(metric(LABELS, SCORES))
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        config = metric.get_config()
        assert type(metric).from_config(config).get_config() == config


def test_padding_and_lists_without_relevant_items_do_not_count():
    padded = np.concatenate([LABELS, -np.ones((6, 2))], 1)
    padded = np.concatenate([padded, np.zeros((1, 12))])
    scores = np.pad(SCORES, ((0, 1), (0, 2)), constant_values=1e6)
    for make in (metrics.NDCG, metrics.RecallAtK, metrics.MeanReciprocalRank):
        np.testing.assert_allclose(
            float(make(3)(padded, scores)),
            float(make(3)(LABELS, SCORES)),
            rtol=1e-6,
        )
    with pytest.raises(ValueError, match="Received: k=0"):
        metrics.NDCG(0)
    with pytest.raises(ValueError, match="Received: gain='log'"):
        metrics.NDCG(gain="log")


def test_equal_scores_rank_as_they_stand():
    metric = metrics.MeanReciprocalRank()
    assert float(metric(np.array([[0, 1]]), np.zeros((1, 2)))) == 0.5


def test_coverage_counts_items_once():
    metric = metrics.Coverage(10, k=2)
    metric.update_state(np.array([[1, 2, 9], [2, -1, 9]]))
    metric.update_state(np.array([[3, 1]]))
    np.testing.assert_allclose(float(metric.result()), 0.3, rtol=1e-6)
    with pytest.raises(ValueError, match="Received: "):
        metrics.Coverage(0)
