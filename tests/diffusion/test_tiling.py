import numpy as np
import pytest
from keras import ops

from diffusion.tiling import tiled


def enlarge(x):
    return ops.repeat(ops.repeat(2.0 * x, 3, axis=1), 3, axis=2)


def shrink(x):
    return ops.average_pool(x, 4, 4, data_format="channels_last")


@pytest.mark.parametrize("shape", [(8, 8), (9, 8), (8, 21), (31, 17)])
def test_tiles_of_a_local_function_make_the_whole(shape):
    rng = np.random.default_rng(0)
    calls = []

    def counted(x):
        calls.append(x.shape)
        return enlarge(x)

    x = ops.convert_to_tensor(rng.normal(size=(2, *shape, 2)), "float32")
    result = ops.convert_to_numpy(tiled(counted, x, tile=8, up=3))
    expected = ops.convert_to_numpy(enlarge(x))
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert {tuple(call) for call in calls} == {(2, 8, 8, 2)}


def test_tiles_may_become_smaller():
    x = np.random.default_rng(1).normal(size=(1, 40, 24, 3)).astype("float32")
    x = ops.convert_to_tensor(x)
    result = tiled(shrink, x, tile=16, up=1, down=4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(result),
        ops.convert_to_numpy(shrink(x)),
        atol=1e-6,
    )


def test_tiles_fade_into_each_other():
    """Two tiles that differ by one: no jump of as much remains."""
    levels = iter([0.0, 1.0])
    x = ops.zeros((1, 8, 14, 1))
    result = tiled(lambda x: x + next(levels), x, tile=8, up=1)
    row = ops.convert_to_numpy(result)[0, 0, :, 0]
    assert (row[0], row[-1]) == (0.0, 1.0)
    assert np.all((np.diff(row) >= 0) & (np.diff(row) <= 0.5))
