"""Where arrays of several backends part."""

import numpy as np
import pytest

from keras_multi.portability import compare


@pytest.mark.parametrize(
    ("value", "reference", "error"),
    [
        ([1.0, 3.0], [1.0, 4.0], 0.25),
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0, np.nan], [1.0, 2.0], np.inf),
        ([1.0], [1.0, 2.0], np.inf),
        ([0.0, 1e-9], [0.0, 0.0], 1e-6),
        ([1, 2], [1, 2], 0.0),
        ([1, 2], [1, 3], np.inf),
    ],
)
def test_relative_error(value, reference, error):
    found = compare.relative_error(np.array(value), np.array(reference))
    assert found == pytest.approx(error)


@pytest.mark.parametrize(
    ("values", "odd"),
    [((1, 1, 1), None), ((1, 2, 1), ("b",)), ((2, 1, 1), ("a",))],
)
def test_names_the_backend_that_is_alone(values, odd):
    arrays = {
        name: {"x": np.zeros(1), "y": np.array([float(v)])}
        for name, v in zip("abc", values, strict=True)
    }
    parted = compare.first_parting(arrays, "a", ["x", "y"], 1e-5)
    assert (parted and (parted.backends, parted.name)) == (odd and (odd, "y"))
