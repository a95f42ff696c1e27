"""What each loop prints at its end: the error, and times side by side."""

import importlib
import statistics
import time

import keras
import numpy as np
import ratings

from benchmarks.dcn import Batches as Rows
from benchmarks.dcn import Shape
from benchmarks.workload import Setting
from keras_multi import backend


def report(
    data: ratings.Ratings, predicted: np.ndarray, seconds: list[float]
) -> None:
    """Prints the test error and the milliseconds of a step.

    Args:
        data: the ratings.
        predicted: the trained model's predictions on the test rows.
        seconds: how long each epoch of the loop took.
    """
    error = np.sqrt(np.mean((predicted - data.test[1]) ** 2))
    print(f"test RMSE {error:.4f}")
    steps = len(ratings.batches(data))
    for name, times in (
        ("this loop", seconds),
        ("Model.fit", fit_seconds(data)),
        ("hand-written, no Keras, Adam", native_seconds(data)),
    ):
        # The first epoch compiles.
        milliseconds = statistics.median(times[1:]) / steps * 1e3
        print(f"{milliseconds:8.2f} ms a step: {name}")


def fit_seconds(data: ratings.Ratings, epochs: int = 4) -> list[float]:
    """Times epochs of `Model.fit` on the same batches."""
    model = data.build()
    model.compile(
        keras.optimizers.Adagrad(*ratings.ADAGRAD),
        "mean_squared_error",
        metrics=[keras.metrics.RootMeanSquaredError()],
    )
    batches = ratings.batches(data)
    seconds = []
    for epoch in range(epochs):
        batches.start_epoch(epoch)
        began = time.perf_counter()
        model.fit(batches, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - began)
    return seconds


def native_seconds(data: ratings.Ratings, epochs: int = 4) -> list[float]:
    """Times epochs of the same network written without Keras.

    It is that of the benchmarks, which trains with Adam.
    """
    inputs, targets = data.train
    shape = Shape(
        tuple(data.build().vocabulary_sizes),
        inputs["dense"].shape[1] if "dense" in inputs else 0,
        ratings.EMBEDDING_DIM,
        ratings.CROSS_LAYERS,
        ratings.DEEP_UNITS,
        binary=False,
    )
    module = importlib.import_module(
        f"benchmarks.workloads.native.{backend.name()}"
    )
    setting = Setting(ratings.BATCH_SIZE, "float32", backend.modes()[0])
    model = module.DCN(shape, setting)
    dense = inputs.get("dense", np.zeros((len(targets), 0), "float32"))
    rows = Rows(inputs["categorical"], dense, targets)
    starts = range(0, len(targets), ratings.BATCH_SIZE)
    slices = [slice(start, start + ratings.BATCH_SIZE) for start in starts]
    seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        model.fit(rows, slices)
        seconds.append(time.perf_counter() - began)
    return seconds
