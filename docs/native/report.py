"""What each loop prints at its end: the error, and times side by side."""

import importlib
import statistics
import time
from typing import Any

import keras
import numpy as np
import ratings
import shared

from benchmarks.dcn import Batches as Rows
from benchmarks.dcn import Shape
from benchmarks.workload import Setting
from keras_multi import backend


def report(task: shared.Task, predicted: Any, seconds: list[float]) -> None:
    """Prints the test error and the milliseconds of a step.

    Args:
        task: what the loop was trained on.
        predicted: what the trained model serves for the test rows.
        seconds: how long each epoch of the loop took.
    """
    metric = task.make_metric()
    metric.update_state(task.test[1], predicted)
    print(f"test {metric.name.replace('_', ' ')} {float(metric.result()):.4f}")
    steps = len(shared.batches(task))
    rows = [("this loop", seconds), ("Model.fit", fit_seconds(task))]
    if isinstance(task.train[0], dict):
        rows.append(("hand-written, no Keras, Adam", native_seconds(task)))
    for name, times in rows:
        # The first epoch compiles.
        milliseconds = statistics.median(times[1:]) / steps * 1e3
        print(f"{milliseconds:8.2f} ms a step: {name}")


def fit_seconds(task: shared.Task, epochs: int = 4) -> list[float]:
    """Times epochs of `Model.fit` on the same batches."""
    model = task.build()
    model.compile(
        keras.optimizers.Adagrad(*task.adagrad),
        task.loss,
        metrics=[task.make_metric()],
    )
    batches = shared.batches(task)
    seconds = []
    for epoch in range(epochs):
        batches.start_epoch(epoch)
        began = time.perf_counter()
        model.fit(batches, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - began)
    return seconds


def native_seconds(task: shared.Task, epochs: int = 4) -> list[float]:
    """Times epochs of the same network written without Keras.

    It is that of the benchmarks, which trains with Adam.
    """
    inputs, targets = task.train
    shape = Shape(
        tuple(task.build().vocabulary_sizes),
        inputs["dense"].shape[1] if "dense" in inputs else 0,
        ratings.EMBEDDING_DIM,
        ratings.CROSS_LAYERS,
        ratings.DEEP_UNITS,
        binary=False,
    )
    module = importlib.import_module(
        f"benchmarks.workloads.native.{backend.name()}"
    )
    setting = Setting(task.batch_size, "float32", backend.modes()[0])
    model = module.DCN(shape, setting)
    dense = inputs.get("dense", np.zeros((len(targets), 0), "float32"))
    rows = Rows(inputs["categorical"], dense, targets)
    starts = range(0, len(targets), task.batch_size)
    slices = [slice(start, start + task.batch_size) for start in starts]
    seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        model.fit(rows, slices)
        seconds.append(time.perf_counter() - began)
    return seconds
