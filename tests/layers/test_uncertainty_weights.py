import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.layers import UncertaintyWeights
from tests.layers.layer_case import check_layer

LOSSES = np.array([[0.5, 2.0], [1.0, 4.0]], "float32")


def test_equals_the_formula(tmp_path):
    check_layer(
        UncertaintyWeights, [LOSSES], (2,), num_weights=1, folder=tmp_path
    )
    layer = UncertaintyWeights()
    layer.build(LOSSES.shape)
    s = np.array([0.3, -0.7])
    layer.set_weights([s])
    value, (gradient,) = backend.value_and_gradients(
        lambda: ops.sum(layer(LOSSES)), layer.weights
    )
    expected = (np.exp(-s) * LOSSES + s / 2).sum()
    np.testing.assert_allclose(float(value), expected, rtol=1e-5)
    slope = (0.5 - np.exp(-s) * LOSSES).sum(0)
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), slope, rtol=1e-5)
