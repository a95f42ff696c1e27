"""Loops of each framework end where `Model.fit` ends."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend, data
from keras_multi.data import Table
from keras_multi.training import Batches

FOLDER = Path(__file__).parents[2] / "docs/native"
STEPS = 20


def small_ratings(rows):
    rng = np.random.default_rng(rows)
    columns = {
        name: rng.integers(0, 30, rows)
        for name in ("user_id", "item_id", "gender", "zip_code", "occupation")
    }
    columns["age"] = rng.integers(10, 70, rows)
    columns["rating"] = rng.integers(1, 6, rows).astype("float32")
    return Table("movielens-100k", columns, "rating")


@pytest.fixture
def loop(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(
        data, "train_test", lambda name: (small_ratings(660), small_ratings(90))
    )
    return importlib.import_module(f"{backend.name()}_loop")


def trained_by_loop(loop, model, batches):
    """Losses, root mean squared error and weights after some steps."""
    ratings, loss = loop.ratings, keras.losses.MeanSquaredError()
    metric = keras.metrics.RootMeanSquaredError()
    settings = (ratings.LEARNING_RATE, ratings.START, ratings.EPSILON)
    if backend.name() == "jax":
        optimizer = loop.optax.adagrad(*settings)
        step = loop.make_step(model, optimizer, loss, metric)
        state = loop.start(model, optimizer, metric)
        losses, state = loop.train(step, state, batches)
        loop.put_back(state, model)
        return losses, metric.stateless_result(state.metric)
    if backend.name() == "torch":
        module = loop.Rater(model).train()
        optimizer = loop.torch.optim.Adagrad(
            module.parameters(),
            ratings.LEARNING_RATE,
            initial_accumulator_value=ratings.START,
            eps=ratings.EPSILON,
        )
        step = loop.make_step(module, model, optimizer, loss)
        tensors = (loop.to_tensors(batch) for batch in batches)
        return loop.train(step, metric, tensors), metric.result()
    optimizer = keras.optimizers.Adagrad(*settings)
    optimizer.build(model.trainable_variables)
    step = loop.make_step(model, optimizer, loss, metric)
    return loop.train(step, loop.dataset(batches)), metric.result()


class Record(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(logs["loss"])
        self.error = logs["error"]


def test_equals_fit(loop):
    ratings = loop.ratings.load()
    batches = Batches(ratings.train, 33, seed=1)
    assert len(batches) == STEPS
    model = ratings.build()
    losses, error = trained_by_loop(loop, model, batches)

    fitted, record = ratings.build(), Record()
    fitted.compile(
        keras.optimizers.Adagrad(
            loop.ratings.LEARNING_RATE, loop.ratings.START, loop.ratings.EPSILON
        ),
        "mean_squared_error",
        metrics=[keras.metrics.RootMeanSquaredError("error")],
    )
    fitted.fit(batches, shuffle=False, verbose=0, callbacks=[record])

    means = np.cumsum(losses) / np.arange(1, STEPS + 1)
    np.testing.assert_allclose(means, record.means, rtol=1e-5)
    error = float(ops.convert_to_numpy(error))
    assert error == pytest.approx(record.error, rel=1e-5)
    for ours, theirs in zip(
        model.get_weights(), fitted.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_wrong_backend_is_told():
    name, other = (
        ("jax", "torch")
        if backend.name() == "torch"
        else (
            "torch",
            backend.name(),
        )
    )
    result = subprocess.run(
        [sys.executable, FOLDER / f"{name}_loop.py"],
        env={**os.environ, "KERAS_BACKEND": other},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert f"start it with KERAS_BACKEND={name}" in result.stderr
