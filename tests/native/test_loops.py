"""Loops of each framework end where `Model.fit` ends."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_multi import backend, data
from keras_multi.data import Table
from keras_multi.errors import UsageError
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


class Loop:
    """The loop of the backend in use, with all that belongs to it."""

    def __init__(self, loop, model, traced=False):
        self.loop, self.model = loop, model
        self.metric = keras.metrics.RootMeanSquaredError()
        loss = keras.losses.MeanSquaredError()
        ratings = loop.ratings
        if backend.name() == "jax":
            self.optimizer = loop.optax.adagrad(*ratings.ADAGRAD)
            self.step = loop.make_step(model, self.optimizer, loss, self.metric)
            self.state = loop.start(model, self.optimizer, self.metric)
        elif backend.name() == "torch":
            self.module = loop.Rater(model).train()
            self.optimizer = loop.torch.optim.Adagrad(
                self.module.parameters(),
                ratings.LEARNING_RATE,
                initial_accumulator_value=ratings.START,
                eps=ratings.EPSILON,
            )
            module = self.module
            if traced:  # Without the compiler, which takes half a minute.
                module = loop.torch.compile(
                    module, backend="eager", fullgraph=True
                )
            self.step = loop.make_step(module, model, self.optimizer, loss)
        else:
            self.optimizer = keras.optimizers.Adagrad(*ratings.ADAGRAD)
            self.step = loop.make_step(model, self.optimizer, loss, self.metric)

    def train(self, batches):
        """Trains the model; gives the losses and the metric."""
        loop, metric = self.loop, self.metric
        if backend.name() == "jax":
            losses, self.state = loop.train(self.step, self.state, batches)
            loop.put_back(self.state, self.model, metric)
            return losses, float(metric.stateless_result(self.state.metric))
        if backend.name() == "torch":
            losses = loop.train(self.step, metric, loop.feed(batches))
        else:
            losses = loop.train(self.step, loop.feed(batches))
        return losses, float(metric.result())


class Record(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(logs["loss"])
        self.error = logs["error"]


def same_weights(model, other):
    for ours, theirs in zip(
        model.get_weights(), other.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_equals_fit(loop, tmp_path):
    ratings = loop.ratings.load()
    batches = Batches(ratings.train, 33, seed=1)
    assert len(batches) == STEPS
    model = ratings.build()
    trained = Loop(loop, model)
    losses, error = trained.train(batches)

    fitted, record = ratings.build(), Record()
    fitted.compile(
        keras.optimizers.Adagrad(*loop.ratings.ADAGRAD),
        "mean_squared_error",
        metrics=[keras.metrics.RootMeanSquaredError("error")],
    )
    fitted.fit(batches, shuffle=False, verbose=0, callbacks=[record])

    means = np.cumsum(losses) / np.arange(1, STEPS + 1)
    np.testing.assert_allclose(means, record.means, rtol=1e-5)
    assert error == pytest.approx(record.error, rel=1e-5)
    same_weights(model, fitted)
    check_saving(trained, ratings, tmp_path)


def check_saving(trained, ratings, folder):
    """What a framework writes, it reads into a second model."""
    loop, model, second = trained.loop, trained.model, ratings.build()
    inputs, _ = ratings.test
    raw = model.predict(inputs, batch_size=90, verbose=0)
    wanted = np.clip(raw, 1, 5)
    if backend.name() == "jax":
        loop.save(trained.state, folder / "state")
        found = loop.restore(folder / "state", trained.state)
        loop.put_back(found, second, trained.metric)
        for ours, theirs in zip(
            loop.jax.tree.leaves(found),
            loop.jax.tree.leaves(trained.state),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
    elif backend.name() == "torch":
        module = loop.Rater(second).eval()
        loop.load_state(module, trained.module.state_dict())
        tensors = loop.to_tensors(inputs)
        program = loop.torch.export.export(module, (tensors,))
        sizes = loop.watch(second.output_layer)
        served = program.module()(tensors).detach().numpy()
        np.testing.assert_allclose(served, wanted, rtol=1e-5)
        predicted = module(tensors).detach().numpy()
        np.testing.assert_allclose(predicted, wanted, rtol=1e-5)
        assert sizes == pytest.approx([np.abs(raw).mean()], rel=1e-5)
    else:
        path = loop.checkpoint(model).save(str(folder / "state"))
        loop.checkpoint(second).restore(path).assert_consumed()
        specification = loop.feed(Batches(ratings.test, 90, 0)).element_spec
        served = loop.serve(second, specification[0], folder / "served")
        np.testing.assert_allclose(
            served(**inputs)["rating"].numpy(), wanted, rtol=1e-5
        )
    same_weights(second, model)


def test_a_model_without_weights_is_told(loop):
    model = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(UsageError, match="has no weights yet; call it on"):
        Loop(loop, model)


@pytest.fixture
def tiny(loop):
    """A loop over the smallest model."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    return Loop(loop, model, traced=True)


def test_targets_of_another_shape_are_told(tiny):
    x, y = np.zeros((4, 2), "float32"), np.zeros((4, 3), "float32")
    with pytest.raises(
        UsageError, match=r"targets \(4, 3\), predictions \(4, 1\)"
    ):
        tiny.train(Batches((x, y), 4, seed=0))


def test_the_state_of_another_model_is_told(tiny, tmp_path):
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    loop = tiny.loop
    if backend.name() == "jax":
        state = loop.start(other, tiny.optimizer, tiny.metric)
        x = np.zeros((4, 2), "float32")
        with pytest.raises(UsageError, match="state of another model"):
            tiny.step(state, x, x[:, :1])
        with pytest.raises(UsageError, match="state of another model"):
            loop.put_back(state, tiny.model, tiny.metric)
    elif backend.name() == "torch":
        state = loop.Rater(other).state_dict()
        with pytest.raises(UsageError, match="state of another model"):
            loop.load_state(tiny.module, state)
    else:
        path = loop.checkpoint(other).save(str(tmp_path / "state"))
        with pytest.raises(ValueError, match="shape"):
            loop.checkpoint(tiny.model).restore(path)


@pytest.mark.slow
def test_report(loop, capsys):
    report = importlib.import_module("report").report
    ratings = loop.ratings.load()
    report(ratings, ratings.test[1] + 0.5, [9.0, 0.001, 0.001])
    error, this, fit, native = capsys.readouterr().out.splitlines()
    assert error == "test RMSE 0.5000"
    # One step in an epoch of 660 rows.
    assert this == "    1.00 ms a step: this loop"
    assert fit.endswith("ms a step: Model.fit")
    assert native.endswith("ms a step: hand-written, no Keras, Adam")


def test_the_wrong_backend_is_told():
    name, other = (
        ("jax", "torch")
        if backend.name() == "torch"
        else ("torch", backend.name())
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
