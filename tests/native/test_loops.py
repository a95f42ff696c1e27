"""Loops of each framework end where `Model.fit` ends."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import nlp.data
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


SMALL_TEXT = "".join(f"{i} times {i} is {i * i}. " for i in range(900))


@pytest.fixture
def loop(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(
        data, "train_test", lambda name: (small_ratings(660), small_ratings(90))
    )
    texts = nlp.data.Texts([SMALL_TEXT], [SMALL_TEXT[:500]])
    monkeypatch.setattr(nlp.data, "load", lambda name: texts)
    return importlib.import_module(f"{backend.name()}_loop")


def load(loop, monkeypatch, name):
    text = importlib.import_module("text")
    monkeypatch.setattr(text, "LAYERS", 1)
    monkeypatch.setattr(text, "LENGTH", 16)
    monkeypatch.setattr(sys, "argv", ["loop", name])
    return loop.shared.load()


class Loop:
    """The loop of the backend in use, with all that belongs to it."""

    def __init__(self, loop, model, task, traced=False):
        self.loop, self.model = loop, model
        self.metric = task.make_metric()
        loss = task.loss
        if backend.name() == "jax":
            self.optimizer = loop.optax.adagrad(*task.adagrad)
            self.step = loop.make_step(model, self.optimizer, loss, self.metric)
            self.state = loop.start(model, self.optimizer, self.metric)
        elif backend.name() == "torch":
            self.module = loop.Served(model, task.finish).train()
            rate, start, epsilon = task.adagrad
            self.optimizer = loop.torch.optim.Adagrad(
                self.module.parameters(),
                rate,
                initial_accumulator_value=start,
                eps=epsilon,
            )
            module = self.module
            if traced:  # Without the compiler, which takes half a minute.
                module = loop.torch.compile(
                    module, backend="eager", fullgraph=True
                )
            self.step = loop.make_step(module, model, self.optimizer, loss)
        else:
            self.optimizer = keras.optimizers.Adagrad(*task.adagrad)
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


@pytest.mark.parametrize("name", ["ratings", "text"])
def test_equals_fit(loop, monkeypatch, tmp_path, name):
    task = load(loop, monkeypatch, name)
    size = len(task.train[1]) // STEPS
    rows = keras.tree.map_structure(lambda x: x[: size * STEPS], task.train)
    batches = Batches(rows, size, seed=1)
    model = task.build()
    trained = Loop(loop, model, task)
    losses, error = trained.train(batches)

    fitted, record = task.build(), Record()
    metric = task.make_metric()
    metric.name = "error"
    fitted.compile(
        keras.optimizers.Adagrad(*task.adagrad), task.loss, metrics=[metric]
    )
    fitted.fit(batches, shuffle=False, verbose=0, callbacks=[record])

    means = np.cumsum(losses) / np.arange(1, STEPS + 1)
    np.testing.assert_allclose(means, record.means, rtol=1e-5)
    assert error == pytest.approx(record.error, rel=1e-5)
    same_weights(model, fitted)
    check_saving(trained, task, tmp_path)


def finished(name, raw):
    """What is served for what a model gives, in NumPy."""
    if name == "dcn":
        return np.clip(raw, 1, 5)
    raw = raw - raw.max(-1, keepdims=True)
    return raw - np.log(np.exp(raw).sum(-1, keepdims=True))


def check_saving(trained, task, folder):
    """What a framework writes, it reads into a second model."""
    loop, model, second = trained.loop, trained.model, task.build()
    inputs, targets = keras.tree.map_structure(lambda x: x[:8], task.test)
    raw = model.predict(inputs, verbose=0)
    wanted = finished(type(model).__name__.lower(), raw)
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
        module = loop.Served(second, task.finish).eval()
        loop.load_state(module, trained.module.state_dict())
        tensors = loop.to_tensors(inputs)
        program = loop.torch.export.export(module, (tensors,))
        sizes = loop.watch(second.layers[-1])
        served = program.module()(tensors).detach().numpy()
        np.testing.assert_allclose(served, wanted, rtol=1e-4, atol=1e-5)
        predicted = module(tensors).detach().numpy()
        np.testing.assert_allclose(predicted, wanted, rtol=1e-4, atol=1e-5)
        assert len(sizes) == 1
        if isinstance(inputs, dict):  # The last layer gives the output.
            assert sizes == pytest.approx([np.abs(raw).mean()], rel=1e-5)
    else:
        path = loop.checkpoint(model).save(str(folder / "state"))
        loop.checkpoint(second).restore(path).assert_consumed()
        batch = Batches((inputs, targets), len(targets), 0)
        specification = loop.feed(batch).element_spec[0]
        served = loop.serve(
            second, task.finish, specification, folder / "served"
        )
        given = inputs if isinstance(inputs, dict) else {"inputs": inputs}
        np.testing.assert_allclose(
            served(**given)["predicted"].numpy(), wanted, rtol=1e-4, atol=1e-5
        )
    same_weights(second, model)


def test_a_task_that_is_not_there_is_told(loop, monkeypatch):
    with pytest.raises(UsageError, match=r"no task 'speech'.* ratings, text"):
        load(loop, monkeypatch, "speech")


def test_a_model_without_weights_is_told(loop, monkeypatch):
    model = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(UsageError, match="has no weights yet; call it on"):
        Loop(loop, model, load(loop, monkeypatch, "ratings"))


@pytest.fixture
def tiny(loop, monkeypatch):
    """A loop over the smallest model."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    task = load(loop, monkeypatch, "ratings")
    return Loop(loop, model, task, traced=True)


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
        state = loop.Served(other, tiny.module.finish).state_dict()
        with pytest.raises(UsageError, match="state of another model"):
            loop.load_state(tiny.module, state)
    else:
        path = loop.checkpoint(other).save(str(tmp_path / "state"))
        with pytest.raises(ValueError, match="shape"):
            loop.checkpoint(tiny.model).restore(path)


@pytest.mark.slow
def test_report(loop, monkeypatch, capsys):
    report = importlib.import_module("report").report
    task = load(loop, monkeypatch, "ratings")
    report(task, task.test[1] + 0.5, [9.0, 0.001, 0.001])
    error, this, fit, native = capsys.readouterr().out.splitlines()
    assert error == "test root mean squared error 0.5000"
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
