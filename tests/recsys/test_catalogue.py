import numpy as np
import pytest
from scipy import stats

from recsys.catalogue import Catalogue

SMALL = Catalogue(num_items=5_000, num_users=200, num_topics=50)


def test_parts_repeat_and_differ():
    first, again = (SMALL.interactions(100, part=3) for _ in range(2))
    other = SMALL.interactions(100, part=4)
    np.testing.assert_array_equal(first, again)
    assert (first[1] != other[1]).any()
    batches = list(SMALL.batches(100, steps=2, first=3))
    np.testing.assert_array_equal(batches, [first, other])


def test_follows_the_law_it_states():
    users, items = SMALL.interactions(200_000, part=0)
    assert np.isin(users, range(200)).all()
    assert np.isin(items, range(5_000)).all()
    ranks = np.bincount(items // 50, minlength=100)
    expected = 200_000 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum()
    assert stats.chisquare(ranks, expected).pvalue > 1e-3
    expected = SMALL.chance(np.arange(5_000))
    assert expected.sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(
        expected.reshape(100, 50).sum(axis=1) * 200_000,
        200_000 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum(),
        rtol=1e-5,
    )
    liked = (SMALL.favourites[users] == (items % 50)[:, None]).any(axis=1)
    # A stray lands in one of about three favourites by chance.
    distinct = np.mean([len(set(row)) for row in SMALL.favourites])
    share = 0.9 + 0.1 * distinct / 50
    assert stats.binomtest(int(liked.sum()), 200_000, share).pvalue > 1e-3


def test_the_best_items_beat_the_popular_ones():
    users, items = SMALL.interactions(2_000, part=1)
    best = SMALL.best(users, 30)
    assert all(len(set(row)) == 30 for row in best)
    found = (best == items[:, None]).any(axis=1).mean()
    popular = (items < 30).mean()
    assert found > 0.4
    assert found > 3 * popular


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_topics": 0},
        {"num_topics": 9, "num_items": 8},
        {"num_users": 0},
        {"loyalty": 1.5},
        {"exponent": -1.0},
    ],
)
def test_bad_input(wrong):
    with pytest.raises(ValueError, match="Received"):
        Catalogue(**wrong)
