import numpy as np
import pytest
from keras import ops

from keras_multi.layers import rotate, rotation

RNG = np.random.default_rng(0)


def test_turns_pairs_as_complex_numbers():
    x = RNG.standard_normal((5, 6)).astype("float32")
    positions = np.array([0, 1, 7, 100, 3])
    y = ops.convert_to_numpy(rotate(x, rotation(positions, 6, 50.0)))
    speeds = 50.0 ** -np.array([0, 1 / 3, 2 / 3])
    turns = np.exp(1j * positions[:, None] * speeds)
    expected = (x[:, :3] + 1j * x[:, 3:]) * turns
    np.testing.assert_allclose(y[:, :3] + 1j * y[:, 3:], expected, atol=1e-5)


def test_products_depend_on_distances_only():
    query, key = RNG.standard_normal((2, 8)).astype("float32")

    def product(p, q):
        turned = [
            ops.convert_to_numpy(rotate(x[None], rotation(np.array([i]), 8)))
            for x, i in ((query, p), (key, q))
        ]
        return (turned[0] * turned[1]).sum()

    assert product(3, 1) == pytest.approx(product(102, 100), abs=1e-4)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-2)


def test_keeps_low_precision_and_turns_in_float32():
    x = ops.cast(RNG.standard_normal((4, 8)), "bfloat16")
    positions = np.array([0, 300, 301, 8191])
    y = rotate(x, rotation(positions, 8))
    expected = rotate(ops.cast(x, "float32"), rotation(positions, 8))
    assert y.dtype == x.dtype
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(y, "float32")),
        ops.convert_to_numpy(expected),
        atol=0.02,
    )


def test_refuses_odd_widths():
    with pytest.raises(ValueError, match="Received: head_dim=5"):
        rotation(np.arange(3), 5)
