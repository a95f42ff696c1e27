import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_multi import data
from keras_multi.errors import DataError, UsageError
from recsys.retrieval.data import load, seen_items
from recsys.retrieval.history import Histories
from tests.recsys.retrieval.small import small_table

EVENT = st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(0, 20))


@given(st.lists(EVENT, min_size=1, max_size=40), EVENT, st.integers(1, 5))
def test_a_history_is_what_came_before(events, query, length):
    users, times, items = map(np.array, zip(*events, strict=True))
    user, time, _ = query
    got = Histories(users, times, items).before(
        np.array([user]), np.array([time]), length
    )
    earlier = [e for e in events if e[0] == user and e[1] < time]
    earlier.sort(key=lambda event: event[1])  # Stable, as time goes on.
    expected = [item for _, _, item in reversed(earlier)][:length]
    expected += [-1] * (length - len(expected))
    assert (got.dtype, got.tolist()) == (np.int32, [expected])


@given(st.lists(EVENT, min_size=1), st.lists(st.integers(0, 5), min_size=1))
def test_seen_items_are_all_of_the_user(events, asked):
    users, _, items = np.array(events).T
    got = seen_items(users, items, np.array(asked))
    for row, user in zip(got, asked, strict=True):
        expected = items[users == user].tolist()
        assert row[: len(expected)].tolist() == expected
        assert (row[len(expected) :] == -1).all()


@pytest.mark.parametrize("protocol", ["random", "leave-last-out"])
def test_validation_rows_come_from_the_training_part(protocol, monkeypatch):
    table = small_table()
    monkeypatch.setattr(data, "load", lambda name: table)

    def keys(part):
        pairs = zip(part["user_id"], part["item_id"], strict=True)
        return sorted(map(tuple, pairs))

    whole = load("movielens-100k", protocol)
    inner = load("movielens-100k", protocol, validation=True)
    assert keys(inner.train) + keys(inner.test) != keys(whole.train)
    assert sorted(keys(inner.train) + keys(inner.test)) == keys(whole.train)
    assert sorted(keys(whole.train) + keys(whole.test)) == keys(table)
    ids = whole.items["item_id"]
    assert ids.tolist() == sorted(set(table["item_id"].tolist()))
    rows = whole.rows_of_items(whole.test)
    np.testing.assert_array_equal(ids[rows], whole.test["item_id"])
    if protocol == "leave-last-out":
        for user in np.unique(table["user_id"]):
            last = max(table["timestamp"][table["user_id"] == user])
            held_out = whole.test["timestamp"][whole.test["user_id"] == user]
            assert held_out.tolist() == [last]


def test_bad_input_is_named():
    with pytest.raises(UsageError, match="unknown protocol 'later'"):
        load("movielens-100k", "later")
    nothing = np.zeros(0, int)
    with pytest.raises(DataError, match="no interactions"):
        Histories(nothing, nothing, nothing)
