import math

import numpy as np

from recsys.rating.nearby import nearby


def rows(seed, count):
    rng = np.random.default_rng(seed)
    users = rng.integers(4, size=count)
    return users, rng.integers(9, size=count), rng.integers(500, size=count)


def test_it_equals_plain_loops():
    scales = (15.0, 120.0)
    users, items, times = rows(0, 30)
    known = rows(1, 40)
    values = np.random.default_rng(2).normal(size=40)
    got = nearby(users, items, times, *known, values, scales)
    for n in range(30):
        for s, scale in enumerate(scales):
            total = amount = 0.0
            for user, item, time, value in zip(*known, values, strict=True):
                if user == users[n] and item != items[n]:
                    weight = math.exp(-abs(int(time) - int(times[n])) / scale)
                    total += weight * value
                    amount += weight
            mean = total / (amount + 2)
            np.testing.assert_allclose(got[n, 2 * s], mean, rtol=1e-5)
            np.testing.assert_allclose(
                got[n, 2 * s + 1], math.log1p(amount) / 4, rtol=1e-5
            )


def test_a_known_row_does_not_see_its_own_value():
    users, items, times = rows(3, 20)
    pairs = np.unique(np.stack([users, items]), axis=1)
    users, items = pairs
    times = times[: len(users)]
    values = np.arange(len(users), dtype=float)
    before = nearby(users, items, times, users, items, times, values)
    for n in range(len(users)):
        other = values.copy()
        other[n] = 1e6
        after = nearby(users, items, times, users, items, times, other)
        np.testing.assert_array_equal(after[n], before[n])


def test_a_user_without_known_rows_gets_zeros():
    one, none = np.array([1]), np.array([], dtype=int)
    got = nearby(one, one, one, none, none, none, none.astype(float))
    assert got.shape == (1, 8)
    assert not got.any()
