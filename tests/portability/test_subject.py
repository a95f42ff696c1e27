"""A user's model, completed by inputs, targets and a loss."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_multi.errors import UsageError
from keras_multi.portability import subject, synthetic


def model(units=3, **arguments):
    made = keras.Sequential([keras.Input((4,)), layers.Dense(units)])
    if arguments:
        made.compile(**arguments)
    return made


@pytest.mark.parametrize(
    ("loss", "shape", "values"),
    [
        ("sparse_categorical_crossentropy", (8,), {0, 1, 2}),
        ("categorical_crossentropy", (8, 3), {0.0, 1.0}),
        (keras.losses.KLDivergence(), (8, 3), {0.0, 1.0}),
        (keras.losses.BinaryCrossentropy(), (8, 3), {0.0, 1.0}),
        (keras.losses.LogCosh(), (8, 3), None),
        ("mse", (8, 3), None),
    ],
)
def test_targets_are_what_the_loss_takes(loss, shape, values):
    made = subject.make(lambda: model(loss=loss), rows=8)
    assert made.targets.shape == shape
    if values is not None:
        assert set(np.unique(made.targets)) <= values
    else:
        assert (made.targets < 0).any()  # log-cosh takes any real number
    assert np.isfinite(made.model.evaluate(*made.rows(8), verbose=0))


def test_a_model_compiled_without_loss_gets_no_targets():
    assert subject.make(lambda: model(optimizer="adam")).targets is None


def test_strings_are_drawn_for_string_inputs():
    inputs = keras.Input((2,), dtype="string")
    words = synthetic.inputs(keras.Model(inputs, inputs), 5)
    assert words.shape == (5, 2)
    assert words.dtype.kind == "U"


def leaves():
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (leaves, "SystemExit"),
        (lambda: 3, "must return a Keras model"),
        (lambda: (model(), np.ones((2, 4)), [np.ones(2)] * 2), "structure"),
        (lambda: (model(), np.ones((2, 4)), np.ones((3, 3))), "equal numbers"),
        (lambda: model(loss=["mse", "mse"]), "do not fit"),
    ],
)
def test_what_does_not_fit_is_a_usage_fault(build, words):
    with pytest.raises(UsageError, match=words):
        subject.make(build)
