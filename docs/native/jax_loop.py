"""A Keras model in a loop of JAX and optax.

    python docs/native/jax_loop.py

Keras gives the model, the loss and the metric. JAX differentiates and
compiles, optax updates. All state is in one tuple that goes into each step
and comes out of it.
"""

import functools
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import ratings

ratings.require("jax")

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import orbax.checkpoint as ocp  # noqa: E402

from keras_multi.training import Batches  # noqa: E402


class State(NamedTuple):
    """Everything that a step changes."""

    trainable: list[Any]
    non_trainable: list[Any]
    optimizer: Any
    metric: list[Any]


def start(model: keras.Model, optimizer: Any, metric: Any) -> State:
    """Takes the state out of the Keras objects."""
    trainable = [variable.value for variable in model.trainable_variables]
    return State(
        trainable,
        [variable.value for variable in model.non_trainable_variables],
        optimizer.init(trainable),
        [variable.value for variable in metric.variables],
    )


def make_step(
    model: keras.Model, optimizer: Any, loss: Any, metric: Any
) -> Callable[..., Any]:
    """Compiles a training step: `(state, x, y) -> (loss, state)`."""

    def compute_loss(
        trainable: list[Any], non_trainable: list[Any], x: Any, y: Any
    ) -> Any:
        # Keras: the model as a pure function of its variables.
        predicted, non_trainable, penalties = model.stateless_call(
            trainable, non_trainable, x, training=True, return_losses=True
        )
        return loss(y, predicted) + sum(penalties), (predicted, non_trainable)

    # JAX: the gradient of that function.
    differentiate = jax.value_and_grad(compute_loss, has_aux=True)

    # JAX: one program; it writes the new state over the old one.
    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: State, x: Any, y: Any) -> tuple[Any, State]:
        (value, (predicted, non_trainable)), gradients = differentiate(
            state.trainable, state.non_trainable, x, y
        )
        # optax: from gradients to new weights.
        updates, optimizer_state = optimizer.update(
            gradients, state.optimizer, state.trainable
        )
        return value, State(
            optax.apply_updates(state.trainable, updates),
            non_trainable,
            optimizer_state,
            # Keras: the metric as a pure function too.
            metric.stateless_update_state(state.metric, y, predicted),
        )

    return step


def train(
    step: Callable[..., Any], state: State, batches: Iterable[Any]
) -> tuple[list[float], State]:
    """Goes over the batches once; gives the loss of each and the state."""
    losses = []
    for x, y in batches:
        value, state = step(state, x, y)
        losses.append(value)  # Still on the device: nothing waits for it.
    return [float(value) for value in losses], state


def put_back(state: State, model: keras.Model) -> None:
    """Gives the weights back to the Keras model."""
    for variable, value in zip(
        model.trainable_variables, state.trainable, strict=True
    ):
        variable.assign(value)


def main() -> None:
    """Trains, saves in both formats, and prints the test error."""
    data = ratings.load()
    model = data.build()
    optimizer = optax.adagrad(
        ratings.LEARNING_RATE, ratings.START, ratings.EPSILON
    )
    metric = keras.metrics.RootMeanSquaredError()
    step = make_step(model, optimizer, keras.losses.MeanSquaredError(), metric)
    state = start(model, optimizer, metric)
    batches = Batches(data.train, ratings.BATCH_SIZE, ratings.SEED)
    for epoch in range(ratings.EPOCHS):
        batches.start_epoch(epoch)
        began = time.perf_counter()
        _, state = train(step, state, batches)
        milliseconds = (time.perf_counter() - began) / len(batches) * 1e3
        error = float(metric.stateless_result(state.metric))
        print(f"epoch {epoch + 1}: {error:.4f}, {milliseconds:.1f} ms a step")
        fresh = [np.zeros_like(value) for value in state.metric]
        state = state._replace(metric=fresh)
    with tempfile.TemporaryDirectory() as folder:
        # Orbax keeps the whole state of the loop, Keras the model alone.
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(Path(folder).resolve() / "state", state)
        put_back(state, model)
        model.save(Path(folder) / "model.keras")
    predicted = model.predict(data.test[0], batch_size=10_000, verbose=0)
    print(f"test RMSE {np.sqrt(np.mean((predicted - data.test[1]) ** 2)):.4f}")


if __name__ == "__main__":
    main()
