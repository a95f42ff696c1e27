"""Recorded steps do what Keras does, here and in what they leave behind."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_multi import backend
from keras_multi.errors import UsageError
from keras_multi.training import record_steps

X = np.random.default_rng(0).standard_normal((22, 6, 6, 2)).astype("float32")
Y = (np.arange(22) % 3).astype("int32")
TORCH = backend.name() == "torch"


def pictures():
    """Weights, statistics and chance."""
    backend.seed(1)
    inputs = keras.Input((6, 6, 2))
    # A bias before a normalization has a gradient of rounding errors only.
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D()(layers.ReLU()(x))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(3)(x))


def compiled(model, **kwargs):
    model.compile(
        keras.optimizers.Adam(0.01, weight_decay=0.01, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
        **kwargs,
    )
    return model


def trained(model, **kwargs):
    backend.seed(2)
    history = model.fit(X, Y, 4, 3, verbose=0, shuffle=False, **kwargs).history
    return [history["loss"], history["accuracy"]]


def programs(model):
    return list(model.train_step._programs.values())


def assert_equal(model, other):
    for ours, theirs in zip(
        model.get_weights(), other.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_does_what_keras_does():
    plain, recorded = compiled(pictures()), compiled(pictures())
    record_steps(recorded)
    weights = np.linspace(0.5, 2, 22).astype("float32")
    expected = trained(plain, sample_weight=weights)
    found = trained(recorded, sample_weight=weights)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert_equal(recorded, plain)
    if TORCH:  # whole batches, and the last one of two rows
        assert [program.verified for program in programs(recorded)] == [
            True
        ] * 2
    # What is compiled anew, or trains less, is recorded anew.
    for model in (plain, recorded):
        model.layers[1].trainable = False
        compiled(model)
    np.testing.assert_allclose(trained(recorded), trained(plain), 1e-5)
    assert_equal(recorded, plain)
    assert recorded.evaluate(X, Y, verbose=0) == pytest.approx(
        plain.evaluate(X, Y, verbose=0), rel=1e-5
    )


def test_single_batches_of_arrays():
    plain, recorded = compiled(pictures()), compiled(pictures())
    record_steps(recorded)
    expected, found = [], []
    for model, told in ((plain, expected), (recorded, found)):
        backend.seed(2)
        told += [model.train_on_batch(X, Y) for _ in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert_equal(recorded, plain)
    if TORCH:
        assert [program.verified for program in programs(recorded)] == [True]


class Reads(layers.Layer):
    """Does what a number says that it reads."""

    def call(self, x):
        if TORCH and float(ops.mean(x)) > 0:
            return 2 * x
        return x


class Alternates(layers.Layer):
    """Does another thing at each call."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x * self.calls if TORCH else x


@pytest.mark.parametrize("layer", [Reads, Alternates])
def test_leaves_to_keras_what_cannot_be_repeated(layer):
    def make():
        backend.seed(1)
        stack = [keras.Input((6, 6, 2)), layers.Flatten(), layer()]
        return compiled(keras.Sequential([*stack, layers.Dense(3)]))

    plain, recorded = make(), make()
    record_steps(recorded)
    np.testing.assert_allclose(trained(recorded), trained(plain), 1e-5)
    assert_equal(recorded, plain)
    if TORCH:
        assert programs(recorded) == [None, None]


def test_a_model_that_is_not_compiled_is_refused():
    with pytest.raises(UsageError, match="not compiled"):
        record_steps(pictures())
