"""A Keras model in a loop of TensorFlow.

    python docs/native/tensorflow_loop.py

Keras gives the model, the loss, the metric and the optimizer. TensorFlow
feeds, differentiates, compiles and serves.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ratings

ratings.require("tensorflow")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from keras_multi.training import Batches  # noqa: E402


def make_step(
    model: keras.Model, optimizer: Any, loss: Any, metric: keras.Metric
) -> Callable[..., Any]:
    """Compiles a training step: `(x, y) -> loss`."""

    # TensorFlow: one program, by XLA.
    @tf.function(jit_compile=True, autograph=False)
    def step(x: Any, y: Any) -> tf.Tensor:
        # TensorFlow: the tape remembers what Keras computes.
        with tf.GradientTape() as tape:
            predicted = model(x, training=True)
            value = loss(y, predicted) + sum(model.losses)
        gradients = tape.gradient(value, model.trainable_variables)
        # Keras: from gradients to new weights.
        optimizer.apply(gradients, model.trainable_variables)
        metric.update_state(y, predicted)
        return value

    return step


def train(step: Callable[..., Any], batches: Iterable[Any]) -> list[float]:
    """Goes over the batches once; gives the loss of each."""
    losses = [step(x, y) for x, y in batches]  # Nothing waits for them.
    return [float(value) for value in losses]


def dataset(batches: Batches) -> tf.data.Dataset:
    """Feeds batches, one ahead of the step that takes them."""
    signature = keras.tree.map_structure(
        lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype),
        batches[0],
    )
    found = tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature=signature
    )
    return found.prefetch(1)


def main() -> None:
    """Trains, prints the test error, saves and serves."""
    data = ratings.load()
    model = data.build()
    optimizer = keras.optimizers.Adagrad(
        ratings.LEARNING_RATE, ratings.START, ratings.EPSILON
    )
    optimizer.build(model.trainable_variables)
    metric = keras.metrics.RootMeanSquaredError()
    step = make_step(model, optimizer, keras.losses.MeanSquaredError(), metric)
    batches = Batches(data.train, ratings.BATCH_SIZE, ratings.SEED)
    feed = dataset(batches)
    for epoch in range(ratings.EPOCHS):
        batches.start_epoch(epoch)
        metric.reset_state()
        began = time.perf_counter()
        train(step, feed)
        milliseconds = (time.perf_counter() - began) / len(batches) * 1e3
        error = float(metric.result())
        print(f"epoch {epoch + 1}: {error:.4f}, {milliseconds:.1f} ms a step")
    predicted = model.predict(data.test[0], batch_size=10_000, verbose=0)
    print(f"test RMSE {np.sqrt(np.mean((predicted - data.test[1]) ** 2)):.4f}")
    with tempfile.TemporaryDirectory() as folder:
        # TensorFlow keeps the variables, and a graph that needs no Keras.
        tf.train.Checkpoint(model=model, optimizer=optimizer).save(
            Path(folder) / "state"
        )
        inputs = feed.element_spec[0]
        model.export(
            Path(folder) / "served", input_signature=[inputs], verbose=False
        )
        served = tf.saved_model.load(Path(folder) / "served")
        part = keras.tree.map_structure(lambda x: x[:3], data.test[0])
        print("served:", served.serve(part).numpy()[:, 0])


if __name__ == "__main__":
    main()
