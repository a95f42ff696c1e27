"""What every ranking loss must hold, checked alike for each of them."""

import json
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_multi import backend

POLICIES = ("float32", "bfloat16", "float16")


def check_loss(
    make: Callable[..., keras.losses.Loss],
    y_true: np.ndarray,
    y_pred: np.ndarray,
    expected: np.ndarray,
) -> None:
    """Checks values, weights, dtypes, gradients, padding and saving.

    Args:
        make: builds the loss; takes the arguments of `keras.losses.Loss`.
        y_true: labels `(batch, list)` with padding below zero.
        y_pred: scores of the same shape.
        expected: the loss of each list, from elsewhere.
    """
    rows = ops.convert_to_numpy(make(reduction="none")(y_true, y_pred))
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)
    masked = {"labels": np.abs(y_true), "mask": y_true >= 0}
    again = ops.convert_to_numpy(make(reduction="none")(masked, y_pred))
    np.testing.assert_allclose(again, rows, rtol=1e-6)

    weight = np.arange(len(rows), dtype="float32")
    value = float(make()(y_true, y_pred, sample_weight=weight))
    np.testing.assert_allclose(value, np.mean(weight * expected), rtol=1e-5)

    for policy in POLICIES:
        low = float(make(dtype=policy)(y_true, 100 * y_pred))
        assert np.isfinite(low), policy

    config = make().get_config()
    json.dumps(config)
    assert type(make()).from_config(config).get_config() == config
    compiled = (
        backend.jit(make(reduction="none"))
        if (backend.name() != "torch")
        else make(reduction="none")
    )
    output = compiled(
        ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(output), expected, rtol=1e-5, atol=1e-6
    )
    _check_gradient(make(), y_true, y_pred)


def _check_gradient(
    loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray
) -> None:
    """Against central differences; zero at padding."""
    scores = keras.Variable(y_pred)
    _, (gradient,) = backend.value_and_gradients(
        lambda: loss(y_true, scores.value), [scores]
    )
    gradient = ops.convert_to_numpy(gradient)
    assert (gradient[y_true < 0] == 0).all()
    step = 1e-2
    for place in np.ndindex(y_pred.shape):
        change = np.zeros_like(y_pred)
        change[place] = step
        higher = float(loss(y_true, y_pred + change))
        lower = float(loss(y_true, y_pred - change))
        slope = (higher - lower) / (2 * step)
        np.testing.assert_allclose(gradient[place], slope, atol=2e-3)
