import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from keras_multi.errors import DataError, UsageError
from recsys.ranking.evaluate import item_means, judged_lists, ndcg
from recsys.ranking.lists import sample_lists
from tests.recsys.ranking.tiny import ratings

USERS = np.array([3, 1, 3, 2, 3, 1, 3, 1, 3])


def test_a_list_holds_different_rows_of_one_user():
    lists = sample_lists(USERS, length=3, lists_per_group=20, seed=1)
    assert lists.shape == (40, 3)  # User 2 has one row only.
    for rows in lists:
        assert len(set(USERS[rows])) == 1
        assert len(set(rows)) == 3
    assert set(USERS[lists].ravel()) == {1, 3}
    np.testing.assert_array_equal(
        lists, sample_lists(USERS, length=3, lists_per_group=20, seed=1)
    )


def test_each_row_is_drawn_equally_often():
    lists = sample_lists(USERS, length=2, lists_per_group=10_000)
    counts = np.bincount(lists.ravel(), minlength=len(USERS))
    share = counts[USERS == 3] / 10_000
    np.testing.assert_allclose(share, 2 / 5, atol=0.02)
    first = np.bincount(lists[:, 0], minlength=len(USERS))
    np.testing.assert_allclose(first[USERS == 3] / 10_000, 1 / 5, atol=0.02)


def test_wrong_numbers_and_users_with_few_ratings_are_named():
    with pytest.raises(UsageError, match="Received: length=1"):
        sample_lists(USERS, length=1)
    with pytest.raises(UsageError, match="lists_per_group=0"):
        sample_lists(USERS, lists_per_group=0)
    with pytest.raises(DataError, match="lists have 6 items"):
        sample_lists(USERS, length=6)


def test_ndcg_equals_scikit_learn():
    table = ratings()
    scores = np.random.default_rng(0).normal(size=len(table))
    lists = judged_lists(table)
    expected = ndcg_score(2 ** table["rating"][lists] - 1, scores[lists])
    assert ndcg(table, scores) == pytest.approx(expected, rel=1e-5)


def test_item_means_are_those_of_the_training_rows():
    table = ratings()
    train, rest = table.take(slice(0, 300)), table.take(slice(300, None))
    rest.columns["item_id"][0] = 999
    scores = item_means(train, rest)
    assert scores[0] == pytest.approx(train["rating"].mean())
    own = train["rating"][train["item_id"] == rest["item_id"][1]]
    assert scores[1] == pytest.approx(own.mean())
