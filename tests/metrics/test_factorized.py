import numpy as np
import pytest
from keras import ops

from keras_multi.metrics import FactorizedTopK, candidate_ranks
from tests.unknown_batch import unknown_batch

RNG = np.random.default_rng(0)
QUERIES = RNG.standard_normal((6, 4)).astype("float32")
CORPUS = RNG.standard_normal((50, 4)).astype("float32")
TRUE = RNG.integers(0, 50, 6)
EXCLUDED = RNG.integers(-1, 50, (6, 9))
EXCLUDED[:, 0] = TRUE
EXCLUDED[:, 1] = EXCLUDED[:, 2]


def ranks_by_sorting(excluded):
    ranks = []
    for query, true, out in zip(QUERIES, TRUE, excluded, strict=True):
        order = np.argsort(-(CORPUS @ query))
        order = [i for i in order if i == true or i not in out]
        ranks.append(order.index(true))
    return ranks


@pytest.mark.parametrize("chunk_size", [7, 50, 1000])
def test_ranks_equal_sorting(chunk_size):
    for excluded in (None, EXCLUDED):
        ours = candidate_ranks(QUERIES, CORPUS, TRUE, excluded, chunk_size)
        theirs = ranks_by_sorting([()] * 6 if excluded is None else excluded)
        assert ops.convert_to_numpy(ours).tolist() == theirs


def test_metric_is_the_share_of_ranks_below_k():
    metric = FactorizedTopK((1, 10, 50), chunk_size=16)
    for half in (slice(0, 3), slice(3, 6)):
        metric.update_state(TRUE[half], QUERIES[half], CORPUS)
    ranks = np.array(ranks_by_sorting([()] * 6))
    for k in (1, 10, 50):
        np.testing.assert_allclose(
            float(metric.result()[f"top_{k}"]), np.mean(ranks < k), rtol=1e-6
        )
    config = metric.get_config()
    assert FactorizedTopK.from_config(config).get_config() == config
    with pytest.raises(ValueError, match="Received: "):
        FactorizedTopK(())


def test_ties_count_against_the_true_candidate():
    same = np.ones((20, 4), "float32")
    ranks = candidate_ranks(QUERIES, same, TRUE % 20)
    assert ops.convert_to_numpy(ranks).tolist() == [19] * 6


def test_the_size_of_the_batch_may_be_unknown():
    compiled = unknown_batch(candidate_ranks)
    expected = ranks_by_sorting(EXCLUDED)
    for rows in (6, 4, 1):
        ranks = compiled(
            *map(
                ops.convert_to_tensor,
                (QUERIES[:rows], CORPUS, TRUE[:rows], EXCLUDED[:rows]),
            )
        )
        assert ops.convert_to_numpy(ranks).tolist() == expected[:rows]
