import keras
import numpy as np
import pytest
from keras import ops

from keras_multi.layers import LayerNormalization, layer_normalization
from tests.layers.layer_case import check_equals, check_layer

X = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype("float32")


def test_holds_what_every_layer_holds(tmp_path):
    check_layer(
        lambda **kwargs: LayerNormalization(**kwargs),
        [X],
        output_shape=X.shape,
        num_weights=2,
        folder=tmp_path,
    )


@pytest.mark.parametrize(
    "settings", [{}, {"epsilon": 0.5}, {"axis": [2, 3]}, {"center": False}]
)
def test_outputs_and_gradients_equal_those_of_keras(settings):
    check_equals(
        [
            kind(**settings)
            for kind in (LayerNormalization, keras.layers.LayerNormalization)
        ],
        X,
    )


def test_function_keeps_half_precision():
    x = ops.cast(X, "bfloat16")
    y = layer_normalization(x, np.full(6, 2.0), np.ones(6), 0.5)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    exact = ops.convert_to_numpy(ops.cast(x, "float32"))
    deviation = np.sqrt(exact.var(-1, keepdims=True) + 0.5)
    exact = 2 * (exact - exact.mean(-1, keepdims=True)) / deviation + 1
    y = ops.convert_to_numpy(ops.cast(y, "float32"))
    np.testing.assert_allclose(y, exact, rtol=2**-8, atol=2**-8)
