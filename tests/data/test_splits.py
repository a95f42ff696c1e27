import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_multi.data import (
    Table,
    group_split,
    leave_last_out,
    random_split,
    time_split,
)
from keras_multi.errors import UsageError

FRACTIONS = st.sampled_from([(0.8, 0.2), (0.5, 0.5), (0.7, 0.2, 0.1), (1.0,)])
EVENTS = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 9)), min_size=20, max_size=60
)


def events(rows: list[tuple[int, int]]) -> Table:
    user, time = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    columns = {"row": np.arange(len(rows)), "user_id": user, "timestamp": time}
    return Table("events", columns, target="row")


def rows_of(parts) -> list[int]:
    return [row for part in parts for row in part["row"].tolist()]


@given(EVENTS, FRACTIONS, st.integers(0, 1000))
def test_random_split_shares_nothing_and_covers_all(rows, fractions, seed):
    table = events(rows)
    parts = random_split(table, fractions, seed)
    assert sorted(rows_of(parts)) == list(range(len(table)))
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(len(part) - fraction * len(table)) <= 1
        np.testing.assert_array_equal(
            part["user_id"], table["user_id"][part["row"]]
        )


@given(EVENTS, FRACTIONS)
def test_time_split_never_tests_on_the_past(rows, fractions):
    parts = time_split(events(rows), fractions=fractions)
    assert sorted(rows_of(parts)) == list(range(len(rows)))
    in_order = sorted(range(len(rows)), key=lambda row: rows[row][1])
    assert rows_of(parts) == in_order
    for earlier, later in itertools.pairwise(parts):
        assert earlier["timestamp"].max() <= later["timestamp"].min()


@given(EVENTS)
def test_leave_last_out_holds_out_the_last_row_of_each_user(rows):
    train, test = leave_last_out(events(rows))
    by_user: dict[int, list[int]] = {}
    for row, (user, _) in enumerate(rows):
        by_user.setdefault(user, []).append(row)
    last = {
        max(own, key=lambda row: (rows[row][1], row))
        for own in by_user.values()
        if len(own) > 1
    }
    assert test["row"].tolist() == sorted(last)
    assert train["row"].tolist() == sorted(set(range(len(rows))) - last)


@given(EVENTS, st.sampled_from([0.2, 0.5, 0.8]), st.integers(0, 1000))
def test_group_split_holds_out_whole_groups(rows, fraction, seed):
    table = events([*rows, (1, 0), (2, 0), (3, 0)])
    train, test = group_split(table, "user_id", fraction, seed)
    users = set(table["user_id"].tolist())
    held_out = set(test["user_id"].tolist())
    assert len(held_out) == round(fraction * len(users))
    assert set(train["user_id"].tolist()) == users - held_out
    assert sorted(rows_of([train, test])) == list(range(len(table)))
    for part in (train, test):
        assert rows_of([part]) == sorted(rows_of([part]))
    again = group_split(table, "user_id", fraction, seed)
    assert rows_of(again) == rows_of([train, test])


def test_group_split_leaves_no_part_empty():
    table = events([(1, 0), (2, 0)])
    for fraction in (0.0, 0.1, 1.0, -1.0):
        with pytest.raises(UsageError, match=r"2 values of 'user_id'"):
            group_split(table, "user_id", fraction)


def test_the_same_seed_gives_the_same_rows():
    table = events([(1, t) for t in range(100)])
    first, again = random_split(table, seed=7), random_split(table, seed=7)
    assert rows_of(first) == rows_of(again)
    assert rows_of(first) != rows_of(random_split(table, seed=8))
    train, _ = random_split(table, seed=7)
    assert not set(train["row"]) & set(again[1]["row"])


@pytest.mark.parametrize(
    "fractions",
    [
        (0.8, 0.3),
        (1.2, -0.2),
        (),
        (float("nan"), 1.0),
        (1.0, 0.0),
        (0.99, 0.01),
    ],
)
@pytest.mark.parametrize("split", [random_split, time_split])
def test_bad_fractions(split, fractions):
    table = events([(1, t) for t in range(10)])
    with pytest.raises(UsageError, match="fractions=") as error:
        split(table, fractions=fractions)
    assert "\n" not in str(error.value)


def test_no_user_has_two_rows():
    for table in (events([(1, 5), (2, 5)]), events([])):
        with pytest.raises(UsageError, match="none has two rows"):
            leave_last_out(table)


def test_unknown_columns():
    table = events([(1, 5), (1, 6)])
    with pytest.raises(UsageError, match="no column 'when'"):
        time_split(table, "when")
    with pytest.raises(UsageError, match="no column 'who'"):
        leave_last_out(table, user="who")
