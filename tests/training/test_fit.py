import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_multi import backend
from keras_multi.errors import DataError, KerasMultiError, UsageError
from keras_multi.training import Batches, fit, remove_checkpoint

ROOT = Path(__file__).parents[2]
EPOCHS = 12


def make_model(learning_rate=0.01, seed=3):
    backend.seed(seed)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate), "mse")
    return model


def make_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(70, 4)).astype("float32")
    y = x.sum(1, keepdims=True) + rng.normal(size=(70, 1)).astype("float32")
    return (x[:50], y[:50]), (x[50:], y[50:])


def run(directory, model=None, **changes):
    train, validation = make_data()
    model = model or make_model(learning_rate=0.1)
    options = {"epochs": EPOCHS, "batch_size": 16, "seed": 5, "patience": 3}
    options |= {"checkpoint_dir": directory, **changes}
    return model, fit(model, train, validation, **options)


def test_batches_follow_numpy_and_cover_every_row():
    rows = np.arange(10)
    batches = Batches({"a": rows, "b": rows * 2}, 4, seed=7)
    for epoch in (3, 0, 3):
        batches.start_epoch(epoch)
        seen = [batches[i] for i in range(len(batches))]
        order = np.concatenate([batch["a"] for batch in seen])
        expected = np.random.default_rng([7, epoch]).permutation(10)
        np.testing.assert_array_equal(order, expected)
        np.testing.assert_array_equal(
            np.concatenate([batch["b"] for batch in seen]), expected * 2
        )


def test_fit_equals_a_plain_loop_over_the_same_batches():
    x, y = make_data()[0]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    kernel, bias = (np.float64(w) for w in model.get_weights())
    fit(model, (x, y), epochs=2, batch_size=16, seed=5)
    for epoch in range(2):
        order = np.random.default_rng([5, epoch]).permutation(len(x))
        for start in range(0, len(x), 16):
            rows = order[start : start + 16]
            error = x[rows] @ kernel + bias - y[rows]
            kernel -= 0.1 * 2 * x[rows].T @ error / len(rows)
            bias -= 0.1 * 2 * error.mean(0)
    for got, expected in zip(model.get_weights(), (kernel, bias), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


CHILD = """
import sys, time, keras
from tests.training.test_fit import run
class Halt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == int(sys.argv[2]) and batch == 1:
            print("now", flush=True)
            time.sleep(600)
run(sys.argv[1], callbacks=[Halt()])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_ends_as_one_that_was_not(tmp_path):
    whole, expected = run(tmp_path / "whole")
    kill_at = min(expected.epochs - 1, expected.best_epoch + 1)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "KERAS_BACKEND": backend.name(),
    }
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "cut"), str(kill_at)],
        stdout=subprocess.PIPE,
        env=environment,
        cwd=ROOT,
    )
    assert child.stdout.readline() == b"now\n"
    child.kill()
    assert child.wait() == -signal.SIGKILL

    resumed, history = run(tmp_path / "cut", make_model(0.1, seed=99))
    assert history == expected
    assert len(resumed.variables) == len(whole.variables)
    for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again_until_removed(tmp_path):
    model, history = run(tmp_path)
    assert history.stopped_early
    again, second = run(tmp_path, make_model(0.1, seed=99))
    assert second == history
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    remove_checkpoint(tmp_path)
    assert not list(tmp_path.iterdir())
    assert run(tmp_path, make_model(0.1, seed=99))[1] != history


@pytest.mark.slow
def test_a_strange_checkpoint_is_refused(tmp_path):
    run(tmp_path, epochs=1, patience=None)
    with pytest.raises(KerasMultiError, match=r"batch_size.*delete it"):
        run(tmp_path, epochs=1, patience=None, batch_size=8)
    with pytest.raises(KerasMultiError, match=r"optimizer.*delete it"):
        run(tmp_path, make_model(0.2), epochs=1, patience=None)
    with pytest.raises(KerasMultiError, match=r"settings.*delete it"):
        run(tmp_path, epochs=1, patience=None, settings={"width": 8})
    path = tmp_path / "checkpoint.npz"
    content = path.read_bytes()
    for damaged in (b"", b"no zip", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(KerasMultiError, match=r"checkpoint\.npz.*damaged"):
            run(tmp_path, epochs=1, patience=None)
    assert run(tmp_path, epochs=1, patience=None, resume=False)[1].epochs == 1


def test_a_checkpoint_holds_no_pickle(tmp_path):
    run(tmp_path, epochs=1, patience=None)
    with np.load(tmp_path / "checkpoint.npz", allow_pickle=False) as file:
        state = json.loads(str(file["state"]))
        assert all(file[name].dtype != object for name in file.files)
    assert state["epochs_done"] == 1


@pytest.mark.slow
def test_bfloat16_weights_survive(tmp_path):
    def make():
        backend.seed(0)
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(1, dtype="bfloat16")]
        )
        model.compile("adam", "mse", jit_compile=False)
        return model

    first, _ = run(tmp_path, make(), epochs=2, patience=None)
    second, _ = run(tmp_path, make(), epochs=2, patience=None)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a.astype("float32"), b.astype("float32"))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    (x, y), _ = make_data()
    y[0, 0] = np.nan
    with pytest.raises(KerasMultiError, match=r"epoch 1.*learning rate"):
        fit(
            make_model(),
            (x, y),
            epochs=2,
            batch_size=16,
            checkpoint_dir=tmp_path,
        )
    assert not (tmp_path / "checkpoint.npz").exists()


def test_bad_arguments_are_named():
    train, _ = make_data()
    good = {"epochs": 1, "batch_size": 4}
    for bad in ({"epochs": 0}, {"batch_size": 0}, {"seed": -1}):
        with pytest.raises(UsageError, match=next(iter(bad))):
            fit(make_model(), train, **{**good, **bad})
    with pytest.raises(UsageError, match="needs validation"):
        fit(make_model(), train, **good, patience=1)
    with pytest.raises(DataError, match="49, 50 rows"):
        fit(make_model(), (train[0], train[1][1:]), **good)
    with pytest.raises(DataError, match="no rows"):
        fit(make_model(), (train[0][:0], train[1][:0]), **good)
    with pytest.raises(UsageError, match="not compiled"):
        fit(keras.Sequential([keras.layers.Dense(1)]), train, **good)


def test_progress_is_silent_when_stderr_is_no_terminal(capfd):
    fit(make_model(), make_data()[0], epochs=1, batch_size=16, progress=True)
    assert "epoch" not in "".join(capfd.readouterr())
