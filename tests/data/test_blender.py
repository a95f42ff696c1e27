import random

import numpy as np
import pytest

from keras_multi import data


def test_target_is_the_polynomial():
    table = data.load("blender")
    assert len(table) == 100_000
    for row in random.Random(0).sample(range(100_000), 200):
        c, b, k = (
            float(table[name][row])
            for name in ("country", "bananas", "cookbooks")
        )
        y = 0.1 * (c + c * b + k * k) + 0.4 * b + 0.7 * k + 3.1 * b * k
        assert table["likelihood"][row] == pytest.approx(y, rel=1e-6)


def test_features_are_those_of_the_tutorial():
    # The tutorial draws columns of shape (n, 1).
    table = data.load("blender")
    rng = np.random.RandomState(42)
    for name, values in (("country", 200), ("bananas", 24), ("cookbooks", 6)):
        drawn = rng.randint(values, size=[100_000, 1]) / float(values)
        np.testing.assert_allclose(table[name], drawn[:, 0], rtol=1e-6)
        assert table[name].dtype == np.float32
        assert len(np.unique(table[name])) == values


def test_the_first_90_000_rows_train():
    table = data.load("blender")
    train, test = data.train_test("blender")
    for name in table.columns:
        np.testing.assert_array_equal(train[name], table[name][:90_000])
        np.testing.assert_array_equal(test[name], table[name][90_000:])
