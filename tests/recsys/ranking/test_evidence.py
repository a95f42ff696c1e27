import numpy as np
import pytest

from recsys.ranking.evidence import (
    NAMES,
    parts_of_users,
    with_evidence,
    with_own_evidence,
)
from tests.recsys.ranking.tiny import ratings

TABLE = ratings(200, users=12, items=20)
KNOWN, ROWS = TABLE.take(slice(0, 150)), TABLE.take(slice(150, None))


def left_by_hand():
    """What is left of the known ratings, by user and item."""
    mean = KNOWN["rating"].mean(dtype="float64")
    items, users = {}, {}
    for item in set(KNOWN["item_id"]):
        own = KNOWN["rating"][KNOWN["item_id"] == item] - mean
        items[item] = own.sum() / (len(own) + 5)
    for user in set(KNOWN["user_id"]):
        mask = KNOWN["user_id"] == user
        own = KNOWN["rating"][mask] - mean
        own = own - [items[item] for item in KNOWN["item_id"][mask]]
        users[user] = own.sum() / (len(own) + 5)
    left = {}
    for u, i, r in zip(
        KNOWN["user_id"], KNOWN["item_id"], KNOWN["rating"], strict=True
    ):
        left[u, i] = r - mean - items[i] - users[u]
    return items, users, left


def correlation(left, i, j, side):
    """Shrunken correlation of two items (side 1) or users (side 0)."""
    first = {key[1 - side]: v for key, v in left.items() if key[side] == i}
    other = {key[1 - side]: v for key, v in left.items() if key[side] == j}
    both = sorted(set(first) & set(other))
    if not both:
        return 0.0
    a = np.array([first[x] for x in both])
    b = np.array([other[x] for x in both])
    length = np.sqrt((a**2).sum() * (b**2).sum())
    return (a * b).sum() / length * len(both) / (len(both) + 50)


def test_numbers_equal_a_loop():
    items, users, left = left_by_hand()
    table = with_evidence(ROWS, KNOWN)
    genres = dict(zip(TABLE["item_id"], TABLE["genres"], strict=True))
    for row in range(0, len(ROWS), 9):
        user, item = ROWS["user_id"][row], ROWS["item_id"][row]
        assert table["item_mean"][row] == pytest.approx(items[item])
        assert table["user_mean"][row] == pytest.approx(users[user])
        count = (KNOWN["item_id"] == item).sum()
        assert table["item_count"][row] == pytest.approx(np.log1p(count))
        count = (KNOWN["user_id"] == user).sum()
        assert table["user_count"][row] == pytest.approx(np.log1p(count))
        for name, side in (("alike_items", 1), ("alike_users", 0)):
            pair = (user, item)
            total = weights = 0.0
            for key, value in left.items():
                if key[1 - side] == pair[1 - side]:
                    c = correlation(left, pair[side], key[side], side)
                    total += c * abs(c) * value
                    weights += c * c
            assert table[name][row] == pytest.approx(total / (weights + 0.5))
        expected = 0.0
        for genre in genres[item].split("|"):
            shares = [
                (1 / len(names), value)
                for (u, i), value in left.items()
                if u == user and genre in (names := genres[i].split("|"))
            ]
            sums = sum(s * v for s, v in shares), sum(s for s, _ in shares)
            own = 1 / len(genres[item].split("|"))
            expected += own * sums[0] / (sums[1] + 5)
        assert table["alike_genres"][row] == pytest.approx(expected)


def test_own_ratings_play_no_part():
    strange = TABLE.take(slice(150, None))
    strange.columns["rating"][:] = np.nan
    ours, theirs = with_evidence(strange, KNOWN), with_evidence(ROWS, KNOWN)
    for name in NAMES:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_a_part_sees_the_other_parts_only():
    parts = parts_of_users(TABLE["user_id"], 4, seed=0)
    table = with_own_evidence(TABLE, parts)
    changed = TABLE.take(slice(None))
    changed.columns["rating"] = np.where(parts == 2, 1.0, TABLE["rating"])
    again = with_own_evidence(changed, parts)
    inside = parts == 2
    for name in NAMES:
        np.testing.assert_array_equal(table[name][inside], again[name][inside])
    assert (table["item_mean"] != again["item_mean"])[~inside].any()


def test_parts_of_a_user_are_even():
    users = np.repeat([5, 3, 9], [10, 7, 1])
    parts = parts_of_users(users, 3, seed=1)
    for user, rows in ((5, 10), (3, 7), (9, 1)):
        counts = np.bincount(parts[users == user], minlength=3)
        assert counts.sum() == rows
        assert counts.max() - counts.min() <= 1
    assert (parts != parts_of_users(users, 3, seed=2)).any()


def test_unseen_users_and_items_have_no_evidence():
    new = ROWS.take(slice(0, 1))
    new.columns["user_id"][:] = 777
    new.columns["item_id"][:] = 777
    table = with_evidence(new, KNOWN)
    assert all(table[name][0] == 0 for name in NAMES)
