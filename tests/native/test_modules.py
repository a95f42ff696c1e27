"""A module of the framework in a Keras model trains as a Keras layer does."""

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_multi import backend

FOLDER = Path(__file__).parents[2] / "docs/native"


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("modules")


def test_trains_as_a_layer_of_keras(modules):
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((4, 3)).astype("float32")
    bias = rng.standard_normal(3).astype("float32")
    x = rng.standard_normal((32, 4)).astype("float32")
    y = np.sin(x[:, :1])
    dense = keras.layers.Dense(3, "tanh")
    dense.build((None, 4))
    dense.set_weights([kernel, bias])
    results = []
    for layer in (dense, modules.LAYERS[backend.name()](kernel, bias)):
        model = modules.build(layer, 4)
        history = model.fit(
            x, y, batch_size=8, epochs=5, shuffle=False, verbose=0
        )
        assert len(model.trainable_variables) == 6
        results.append((history.history["loss"], model.predict(x, verbose=0)))
    (ours, predicted), (theirs, wanted) = results
    assert ours[-1] < 0.8 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(predicted, wanted, rtol=1e-4, atol=1e-5)
