import numpy as np
import pytest

from keras_multi.data import Table
from keras_multi.errors import DataError
from recsys.rating.inputs import RatingInputs
from tests.recsys.rating.small import ratings


def split(table=None):
    table = ratings() if table is None else table
    return table.take(slice(0, 200)), table.take(slice(200, None))


def changed(table, **columns):
    return Table(table.name, {**table.columns, **columns}, table.target)


def test_values_are_distances_from_shrunken_means():
    train, _ = split()
    inputs = RatingInputs(train, side=False, time=False)
    r = train["rating"].astype(float)
    assert inputs.mean == pytest.approx(r.mean())
    assert (inputs.lowest, inputs.highest) == (r.min(), r.max())
    for n in range(len(train)):
        for values, column in (
            (inputs.user_values, "item_id"),
            (inputs.item_values, "user_id"),
        ):
            same = r[train[column] == train[column][n]]
            mean = (same.sum() + 5 * r.mean()) / (len(same) + 5)
            assert values[n] == pytest.approx(r[n] - mean, abs=1e-6)


def test_the_inputs_have_the_promised_form():
    train, test = split()
    made = RatingInputs(train, side=True, time=True)
    inputs, sizes = made.transform(test), made.sizes
    users, items = sizes["num_users"], sizes["num_items"]
    assert users == len(np.unique(train["user_id"])) + 1
    assert items == len(np.unique(train["item_id"])) + 1
    np.testing.assert_array_equal(made.transform(train)["pair"], made.pairs)
    limits = [users, items, *sizes["num_periods"]]
    columns = [*inputs["pair"].T, *inputs["period"].T]
    for column, limit in zip(columns, limits, strict=True):
        assert column.min() >= 0
        assert column.max() < limit
    for name, size in zip(("user", "item"), sizes["side_sizes"], strict=True):
        side = made.transform(train)[f"{name}_side"]
        assert side.min() >= -1
        assert side.max() < size
        # Each category in use is one value of one column.
        assert len(np.unique(side[side >= 0])) <= size
    assert inputs["dense"].shape == (len(test), sizes["num_dense"])
    plain = RatingInputs(train, side=False, time=False)
    assert list(plain.transform(test)) == ["pair"]


def test_side_categories_tell_the_same_as_the_columns():
    table = ratings()
    made = RatingInputs(table, side=True, time=False)
    side = made.transform(table)["item_side"]
    for a in range(0, 60):
        for b in range(60, 80):
            genres = set(table["genres"][a].split("|")) & set(
                table["genres"][b].split("|")
            )
            years = table["release_year"][[a, b]] // 5
            shared = set(side[a]) & set(side[b]) - {-1}
            assert len(shared) == len(genres) + (years[0] == years[1])


def test_periods_are_days_of_a_user_and_eighths_of_the_time():
    train, test = split()
    made = RatingInputs(train, side=False, time=True)
    day, period = made.transform(train)["period"].T
    keys = list(zip(train["user_id"], train["timestamp"] // 86400, strict=True))
    assert len(set(zip(day, keys, strict=True))) == len(set(keys))
    assert day.min() == 1
    start, end = train["timestamp"].min(), train["timestamp"].max()
    item = made.pairs[:, 1]
    eighth = (train["timestamp"] - start) * 8 // (end - start)
    np.testing.assert_array_equal(
        period, (item - 1) * 8 + np.minimum(eighth, 7) + 1
    )
    later = changed(test, timestamp=test["timestamp"] + 10**8)
    assert not made.transform(later)["period"][:, 0].any()


def test_unseen_users_and_items_are_unknown():
    train, test = split()
    made = RatingInputs(train, side=True, time=True)
    strange = changed(
        test,
        user_id=test["user_id"] + 999,
        item_id=test["item_id"] + 9999,
    )
    inputs = made.transform(strange)
    assert not inputs["pair"].any()
    assert not inputs["period"].any()
    assert not inputs["dense"].any()
    known = made.transform(test)
    np.testing.assert_array_equal(inputs["item_side"], known["item_side"])


def test_no_rating_of_other_rows_is_read():
    train, test = split()
    made = RatingInputs(train, side=True, time=True)
    before = made.transform(test)
    nan = changed(test, rating=np.full(len(test), np.nan, np.float32))
    after = made.transform(nan)
    for name, part in before.items():
        np.testing.assert_array_equal(after[name], part)


def test_a_rating_does_not_enter_the_inputs_of_its_own_row():
    """Two ratings change so that the mean stays: nothing else may tell."""
    train, _ = split()
    made = RatingInputs(train, side=True, time=True)
    before = made.transform(train)
    user, item, r = (train[c] for c in ("user_id", "item_id", "rating"))
    n = 0
    apart = (user != user[n]) & ~np.isin(item, item[user == user[n]])
    m = int(np.flatnonzero(apart)[0])
    other = r.copy()
    other[n] += 1
    other[m] -= 1
    again = RatingInputs(changed(train, rating=other), side=True, time=True)
    after = again.transform(train)
    for name, part in before.items():
        np.testing.assert_allclose(after[name][n], part[n], atol=1e-6)
    same_user = (user == user[n]) & (np.arange(len(r)) != n)
    moved = np.abs(after["dense"] - before["dense"]).max(axis=1)
    assert np.all(moved[same_user] > 0)


def test_saved_inputs_come_back(tmp_path):
    train, test = split()
    for side, time in [(True, True), (False, False)]:
        made = RatingInputs(train, side, time)
        made.save(tmp_path / "rows.npz")
        again = RatingInputs.load(tmp_path / "rows.npz", "rating", side, time)
        assert again.sizes == made.sizes
        for name, part in made.transform(test).items():
            np.testing.assert_array_equal(again.transform(test)[name], part)
    with pytest.raises(DataError, match=r"rows\.npz.*train again"):
        RatingInputs.load(tmp_path / "rows.npz", "rating", True, True)
    content = (tmp_path / "rows.npz").read_bytes()
    (tmp_path / "rows.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"rows\.npz"):
        RatingInputs.load(tmp_path / "rows.npz", "rating", False, False)
    with pytest.raises(DataError, match=r"none\.npz"):
        RatingInputs.load(tmp_path / "none.npz", "rating", False, False)


def test_bad_training_rows_are_named():
    train, _ = split()
    rating = train["rating"].copy()
    rating[3] = np.nan
    with pytest.raises(DataError, match=r"'rating'.* 1 of 200 rows"):
        RatingInputs(changed(train, rating=rating), False, False)
    twice = train.take([*range(200), 0])
    with pytest.raises(DataError, match="1 of 201 rows repeat"):
        RatingInputs(twice, False, False)
    columns = {k: v for k, v in train.columns.items() if k != "genres"}
    with pytest.raises(DataError, match="lacks the column 'genres'"):
        RatingInputs(Table("t", columns, "rating"), True, False)
