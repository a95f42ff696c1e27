import keras
import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.layers import Embedding

IDS = np.array([[0], [0], [1], [1], [3]], "int32")
TARGETS = np.array([[0.5], [0.1], [1.0], [5.0], [2.0]], "float32")


def test_looks_up_as_keras_does():
    ours, keras_own = Embedding(5, 3), keras.layers.Embedding(5, 3)
    ids = np.array([[4, 0, 4], [1, 2, 2]])
    expected = keras_own(ids)
    ours.build(ids.shape)
    ours.set_weights(keras_own.get_weights())
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ours(ids)), ops.convert_to_numpy(expected)
    )


def test_gradient_of_a_repeated_row_is_the_sum():
    layer = Embedding(4, 1)
    layer.build((None, 1))
    _, (gradient,) = backend.value_and_gradients(
        lambda: ops.sum(ops.multiply(layer(IDS), TARGETS[:, :, None])),
        layer.weights,
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(gradient).ravel(), [0.6, 6.0, 0.0, 2.0], rtol=1e-6
    )


def test_adam_squares_the_sum_of_a_repeated_row():
    """Three steps against Adam written out (Kingma and Ba 2015, section 2)."""
    layer = Embedding(4, 1)
    model = keras.Sequential([layer, keras.layers.Flatten()])
    model.build((None, 1))
    table = np.array([[1.0], [2.0], [3.0], [4.0]])
    model.set_weights([table])
    model.compile(keras.optimizers.Adam(0.01, epsilon=1e-7), "mse")
    m = v = np.zeros_like(table)
    for t in range(1, 4):
        model.fit(IDS, TARGETS, batch_size=5, shuffle=False, verbose=0)
        gradient = np.zeros_like(table)
        errors = 2 * (table[IDS[:, 0]] - TARGETS) / len(IDS)
        np.add.at(gradient, IDS[:, 0], errors)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        table = table - rate * m / (np.sqrt(v) + 1e-7)
        np.testing.assert_allclose(
            ops.convert_to_numpy(layer.embeddings), table, rtol=1e-5
        )
