"""Costs counted by hand, in closed form and by the backend agree."""

import keras
import numpy as np
import pytest
from keras import layers

from benchmarks.cost import COUNTERS, least_bytes, model_cost
from benchmarks.dcn import Batches, DCNWorkload, Shape, keras_model
from benchmarks.workload import Setting
from benchmarks.workloads.dcn_movielens import MovieLensEpoch
from keras_multi import backend
from keras_multi.errors import UsageError

SHAPE = Shape(
    vocabulary_sizes=(30, 5, 7),
    num_dense=4,
    embedding_dim=6,
    num_cross_layers=2,
    deep_units=(16, 8),
    binary=True,
)
TABLE = (30 + 5 + 7) * 6
DENSE = 2 * (22 * 22 + 22) + (22 * 16 + 16) + (16 * 8 + 8) + (8 * 1 + 1)
PRODUCTS = 2 * 22 * 22 + 22 * 16 + 16 * 8 + 8 * 1


def dcn(training: bool, batch_size: int, precision: str = "float32"):
    """A workload, its model and its first batch."""
    workload = DCNWorkload(SHAPE, (batch_size,), training)
    setting = Setting(batch_size, precision, backend.modes()[0])
    batches = workload.batches(setting)
    rows = slice(0, batch_size)
    model = keras_model(SHAPE, setting)
    return workload, model, batches.inputs(rows), batches.targets[rows]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_operations_of_the_dcn(training, precision):
    workload, model, inputs, targets = dcn(training, 32, precision)
    cost = workload.cost(32)
    assert cost.operations == (3 if training else 1) * 2 * 32 * PRODUCTS
    counted = model_cost(model, inputs, targets, training)
    assert counted.operations == cost.operations
    assert counted.source == COUNTERS[backend.name()]


def test_bytes_of_training_the_dcn():
    workload, model, inputs, targets = dcn(True, 32)
    by_hand = 4 * (2 * 3 * (TABLE + DENSE) + 32 * (3 + 4 + 1))
    assert workload.cost(32).bytes == by_hand
    counted = least_bytes(model, inputs, targets, training=True)
    assert by_hand <= counted < by_hand + 50  # learning rate and counter


def test_bytes_of_predictions_of_the_dcn():
    """The rows that occur, counted in many random batches."""
    workload, model, inputs, targets = dcn(False, 32)
    batches = workload.batches(Setting(32, "float32", "")).ids
    occurring = [
        len(np.unique(batch[:, column]))
        for batch in batches.reshape(-1, 32, 3)
        for column in range(3)
    ]
    rows = np.sum(occurring) / (len(batches) / 32)
    by_hand = 4 * (DENSE + rows * 6 + 32 * (3 + 4 + 1))
    assert workload.cost(32).bytes == pytest.approx(by_hand, rel=0.01)
    counted = least_bytes(model, inputs, targets, training=False)
    assert counted == 4 * (DENSE + 32 * (3 + 4 + 1))


def test_an_epoch_counts_its_last_smaller_batch():
    rows = DCNWorkload(SHAPE, (70,), True).batches(Setting(70, "float32", ""))
    first = Batches(rows.ids[:70], rows.dense[:70], rows.targets[:70])
    workload = MovieLensEpoch()
    vars(workload)["_data"] = (SHAPE, first)  # as if it had been loaded
    epoch = workload.cost(32)
    assert epoch.operations == 3 * 2 * 70 * PRODUCTS
    assert epoch.bytes == 4 * (3 * 6 * (TABLE + DENSE) + 70 * (3 + 4 + 1))


@pytest.fixture
def two_heads():
    """A model with frozen and moving weights, a regularizer and two losses."""
    x = keras.Input((3,))
    frozen = layers.Dense(4, trainable=False)(x)
    hidden = layers.BatchNormalization()(frozen)
    hidden = layers.Dropout(0.5)(hidden)
    a = layers.Dense(5, kernel_regularizer="l2")(hidden)
    b = layers.Dense(2, "softmax")(hidden)
    return keras.Model(x, {"a": a, "b": b})


def batch(rows: int):
    rng = np.random.default_rng(0)
    x = rng.random((rows, 3), dtype="float32")
    y = {"a": rng.random((rows, 5), dtype="float32"), "b": np.eye(2)[[0, 1]]}
    return x, {**y, "b": y["b"].astype("float32")}


def test_predictions_of_any_model(two_heads):
    x, _ = batch(2)
    cost = model_cost(two_heads, x, None, training=False)
    assert cost.operations == 2 * 2 * (3 * 4 + 4 * 5 + 4 * 2)
    weights = (3 * 4 + 4) + 4 * 4 + (4 * 5 + 5) + (4 * 2 + 2)
    assert cost.bytes == 4 * (weights + 2 * (3 + 5 + 2))


def test_training_of_any_model(two_heads):
    """The first gradient needed by an input is that of the normalization."""
    x, y = batch(2)
    two_heads.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        {"a": "mse", "b": "categorical_crossentropy"},
    )
    cost = model_cost(two_heads, x, y, training=True)
    assert cost.operations == 2 * 2 * (3 * 4 + 3 * (4 * 5 + 4 * 2))
    trained = 2 * 4 + (4 * 5 + 5) + (4 * 2 + 2)
    frozen = (3 * 4 + 4) + 2 * 4
    by_hand = 4 * (2 * 2 * trained + frozen + 2 * (3 + 5 + 2))
    assert by_hand <= cost.bytes < by_hand + 50
    two_heads.fit(x, y, verbose=0)  # counting leaves it fit to be trained


def test_half_precision_takes_half_the_bytes():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(5)], name="halves"
    )
    whole = least_bytes(model, np.ones((2, 3), "float32"), None, False)
    half = keras.Sequential(
        [keras.Input((3,)), layers.Dense(5, dtype="bfloat16")]
    )
    x = keras.ops.ones((2, 3), "bfloat16")
    assert 2 * least_bytes(half, x, None, False) == whole


def test_training_needs_a_compiled_model(two_heads):
    x, y = batch(2)
    for count in (model_cost, least_bytes):
        with pytest.raises(UsageError, match="compile"):
            count(two_heads, x, y, training=True)


def test_nothing_is_claimed_where_the_backend_cannot_count(
    two_heads, monkeypatch
):
    monkeypatch.setattr(backend, "operations", lambda fn: None)
    assert model_cost(two_heads, batch(2)[0], None, False) is None
