import keras
import numpy as np
import pytest

from keras_multi.layers import GroupNormalization
from tests.layers.layer_case import check_equals, check_layer

X = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype("float32")


def test_holds_what_every_layer_holds(tmp_path):
    check_layer(
        lambda **kwargs: GroupNormalization(2, **kwargs),
        [X],
        output_shape=X.shape,
        num_weights=2,
        folder=tmp_path,
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"epsilon": 0.5}, {"groups": 1}, {"axis": 1}, {"center": False}],
)
def test_outputs_and_gradients_equal_those_of_keras(settings):
    check_equals(
        [
            kind(**{"groups": 3} | settings)
            for kind in (GroupNormalization, keras.layers.GroupNormalization)
        ],
        X,
    )
