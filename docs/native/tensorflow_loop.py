"""A Keras model in a loop of TensorFlow.

    python docs/native/tensorflow_loop.py [ratings | text]

Keras gives the model, the loss, the metric and the optimizer. TensorFlow
feeds, differentiates, compiles and serves.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import shared

shared.require("tensorflow")

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


def make_step(
    model: keras.Model, optimizer: Any, loss: Any, metric: keras.Metric
) -> Callable[..., Any]:
    """Compiles a training step: `(x, y) -> loss`."""
    shared.check_built(model)
    # Keras: the state of the optimizer, made outside of the program.
    optimizer.build(model.trainable_variables)

    # TensorFlow: one program, by XLA.
    @tf.function(jit_compile=True, autograph=False)
    def step(x: Any, y: Any) -> tf.Tensor:
        # TensorFlow: the tape remembers what Keras computes.
        with tf.GradientTape() as tape:
            predicted = model(x, training=True)
            shared.check_targets(y, predicted)
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


def feed(batches: Any) -> tf.data.Dataset:
    """TensorFlow: a pipeline, one batch ahead of the step that takes it."""
    signature = keras.tree.map_structure(
        lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype),
        batches[0],
    )
    found = tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature=signature
    )
    return found.prefetch(1)


def checkpoint(*parts: Any) -> tf.train.Checkpoint:
    """TensorFlow: writes and reads all variables of Keras objects.

    They go in as a list: given a model, TensorFlow would leave out the layers
    that another layer keeps in a list, and not tell.
    """
    return tf.train.Checkpoint(
        variables=[v.value for part in parts for v in part.variables]
    )


def serve(
    model: keras.Model, finish: Callable[..., Any], inputs: Any, folder: Path
) -> Callable[..., Any]:
    """TensorFlow: writes a graph that needs no Keras, and reads it again.

    Args:
        model: the trained model.
        finish: turns what it gives into what is served.
        inputs: specifications of its inputs: one, or several by name.
        folder: where to.

    Returns:
        The signature: it takes the inputs by name, `inputs` if there is one,
        and gives `predicted`.
    """
    module = tf.Module()
    module.kept = [variable.value for variable in model.variables]
    named = isinstance(inputs, dict)

    @tf.function(autograph=False)
    def predict(**given: Any) -> dict[str, Any]:
        return {"predicted": finish(model(given if named else given["inputs"]))}

    specification = inputs if named else {"inputs": inputs}
    signature = predict.get_concrete_function(**specification)
    tf.saved_model.save(module, str(folder), {"serving_default": signature})
    return tf.saved_model.load(str(folder)).signatures["serving_default"]


def main() -> None:
    """Trains, saves, serves, and prints the test error."""
    from report import report

    task = shared.load()
    model, metric = task.build(), task.make_metric()
    optimizer = keras.optimizers.Adagrad(*task.adagrad)
    step = make_step(model, optimizer, task.loss, metric)
    batches, seconds = shared.batches(task), []
    fed = feed(batches)
    for epoch in range(task.epochs):
        batches.start_epoch(epoch)
        metric.reset_state()
        began = time.perf_counter()
        train(step, fed)
        seconds.append(time.perf_counter() - began)
        print(f"epoch {epoch + 1}: {float(metric.result()):.4f}")
    with tempfile.TemporaryDirectory() as name:
        path = checkpoint(model, optimizer).save(str(Path(name) / "state"))
        model = task.build()
        restored = checkpoint(model).restore(path)
        restored.assert_existing_objects_matched().expect_partial()
        folder = Path(name) / "served"
        served = serve(model, task.finish, fed.element_spec[0], folder)
    x = task.test[0]
    predicted = served(**(x if isinstance(x, dict) else {"inputs": x}))
    report(task, predicted["predicted"], seconds)


if __name__ == "__main__":
    main()
