import numpy as np
import pytest
from keras import ops

from keras_multi.layers import SwiGLU
from tests.layers.layer_case import check_layer

X = np.random.default_rng(0).standard_normal((4, 3, 6)).astype("float32")


def test_holds_what_every_layer_holds(tmp_path):
    check_layer(
        lambda **kwargs: SwiGLU(5, **kwargs),
        [X],
        output_shape=X.shape,
        num_weights=3,
        folder=tmp_path,
    )


def test_equals_its_equation():
    layer = SwiGLU(5)
    output = ops.convert_to_numpy(layer(X))
    gate, up, down = (w.astype("float64") for w in layer.get_weights())
    opened = X @ gate / (1 + np.exp(-(X @ gate)))
    expected = (opened * (X @ up)) @ down
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="Received: hidden_dim=0"):
        SwiGLU(0)
    with pytest.raises(ValueError, match="must be static"):
        SwiGLU(4).build((None, 3, None))
