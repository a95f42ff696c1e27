"""A training step with `SparseEmbedding`, by the number of rows of its table.

Run it once per backend: `KERAS_BACKEND=jax python -m benchmarks.table_size`.
26 ids of each of 256 examples are looked up in one table, 16 wide; a
perceptron follows, and `Model.fit` trains both. Tables of both sizes take
turns; the ratio is the median of that of the rounds, with its 95 % interval.
10,000,000 rows and their accumulators take 1.3 GB.
"""

import time

import keras
import numpy as np
from keras import layers

from benchmarks.statistics import median_interval, ratio_interval
from benchmarks.table import interval
from keras_multi import backend
from keras_multi.layers import SparseEmbedding

ROWS = (100_000, 10_000_000)
BATCH, COLUMNS, STEPS, ROUNDS = 256, 26, 16, 11


def model_of(rows: int) -> keras.Model:
    """A click predictor on one table."""
    model = keras.Sequential(
        [
            keras.Input((COLUMNS,), dtype="int32"),
            SparseEmbedding(rows, 16),
            layers.Flatten(),
            layers.Dense(256, "relu"),
            layers.Dense(1),
        ]
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


def main() -> None:
    """Prints the time of a step for each size, and their ratio."""
    rng = np.random.default_rng(0)
    examples = BATCH * STEPS
    targets = rng.integers(0, 2, (examples, 1)).astype("float32")
    models = {rows: model_of(rows) for rows in ROWS}
    times: dict[int, list[float]] = {rows: [] for rows in ROWS}
    for turn in range(ROUNDS + 2):
        for rows, model in models.items():
            ids = rng.integers(0, rows, (examples, COLUMNS), "int32")
            start = time.perf_counter()
            model.fit(ids, targets, batch_size=BATCH, shuffle=False, verbose=0)
            if turn >= 2:
                times[rows].append((time.perf_counter() - start) / STEPS)
    for rows in ROWS:
        took = interval(median_interval(times[rows]), 1e3)
        print(f"{backend.name()}: {rows:,} rows, {took} ms per step")
    small, large = (times[rows] for rows in ROWS)
    print(f"ratio {interval(ratio_interval(large, small))}")


if __name__ == "__main__":
    main()
