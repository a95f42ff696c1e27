import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from keras_multi.layers import GroupNormalization
from tests.layers.layer_case import check_layer

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
    results = []
    for kind in (GroupNormalization, keras.layers.GroupNormalization):
        layer = kind(**{"groups": 3} | settings)
        layer.build(X.shape)
        shapes = [w.shape for w in layer.get_weights()]
        rng = np.random.default_rng(1)
        layer.set_weights([rng.uniform(0.5, 2, shape) for shape in shapes])
        inputs = keras.Variable(X)
        value, gradients = backend.value_and_gradients(
            lambda layer=layer, inputs=inputs: ops.sum(
                ops.square(ops.add(layer(inputs.value), X))
            ),
            [inputs, *layer.trainable_variables],
        )
        results.append([layer(X), value, *gradients])
    for ours, expected in zip(*results, strict=True):
        ours, expected = map(ops.convert_to_numpy, (ours, expected))
        largest = np.abs(expected).max()
        np.testing.assert_allclose(ours, expected, atol=1e-5 * largest)
