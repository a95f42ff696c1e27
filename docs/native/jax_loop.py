"""A Keras model in a loop of JAX and optax.

    python docs/native/jax_loop.py [ratings | text]

Keras gives the model, the loss and the metric. JAX differentiates and
compiles, optax updates. One tuple of all state goes into and out of a step.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import shared

shared.require("jax")

import jax  # noqa: E402
import keras  # noqa: E402
import optax  # noqa: E402
import orbax.checkpoint as ocp  # noqa: E402


class State(NamedTuple):
    """Everything that a step changes."""

    trainable: list[Any]
    non_trainable: list[Any]
    optimizer: Any
    metric: list[Any]


def copies(variables: Iterable[Any]) -> list[Any]:
    """Takes values out of Keras, as copies: a step overwrites its state."""
    return [jax.numpy.array(variable.value) for variable in variables]


def start(model: keras.Model, optimizer: Any, metric: keras.Metric) -> State:
    """Takes the state out of the Keras objects."""
    trainable = copies(model.trainable_variables)
    return State(
        trainable,
        copies(model.non_trainable_variables),
        optimizer.init(trainable),
        copies(metric.variables),
    )


def make_step(
    model: keras.Model, optimizer: Any, loss: Any, metric: keras.Metric
) -> Callable[..., Any]:
    """Compiles a training step: `(state, x, y) -> (loss, state)`."""
    shared.check_built(model)

    def compute_loss(weights: Any, others: Any, x: Any, y: Any) -> Any:
        # Keras: the model as a pure function of its variables.
        predicted, others, penalties = model.stateless_call(
            weights, others, x, training=True, return_losses=True
        )
        shared.check_targets(y, predicted)
        return loss(y, predicted) + sum(penalties), (predicted, others)

    # JAX: the gradient of that function, and all of a step as one program,
    # which writes the new state over the old one.
    differentiate = jax.value_and_grad(compute_loss, has_aux=True)

    def step(state: State, x: Any, y: Any) -> tuple[Any, State]:
        shared.check_state(model, metric, state)
        (value, (predicted, others)), gradients = differentiate(
            state.trainable, state.non_trainable, x, y
        )
        # optax: from gradients to new weights.
        updates, optimizer_state = optimizer.update(
            gradients, state.optimizer, state.trainable
        )
        return value, State(
            optax.apply_updates(state.trainable, updates),
            others,
            optimizer_state,
            # Keras: the metric as a pure function too.
            metric.stateless_update_state(state.metric, y, predicted),
        )

    return jax.jit(step, donate_argnums=0)


def train(
    step: Callable[..., Any], state: State, batches: Iterable[Any]
) -> tuple[list[float], State]:
    """Goes over the batches once; gives the loss of each and the state."""
    losses = []
    for x, y in batches:
        value, state = step(state, x, y)
        losses.append(value)  # Still on the device: nothing waits for it.
    return [float(value) for value in losses], state


def put_back(state: State, model: keras.Model, metric: keras.Metric) -> None:
    """Gives the weights back to the Keras model."""
    shared.check_state(model, metric, state)
    variables = (*model.trainable_variables, *model.non_trainable_variables)
    values = (*state.trainable, *state.non_trainable)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(jax.numpy.array(value))


def save(state: State, path: Path) -> None:
    """Orbax: keeps the whole state of the loop."""
    with ocp.StandardCheckpointer() as checkpointer:  # Waits at its end.
        checkpointer.save(path, state)


def restore(path: Path, like: State) -> Any:
    """Orbax: reads a state with the shapes of another one."""
    return ocp.StandardCheckpointer().restore(path, like)


def main() -> None:
    """Trains, saves in both formats, and prints the test error."""
    from report import report

    task = shared.load()
    model, metric = task.build(), task.make_metric()
    optimizer = optax.adagrad(*task.adagrad)
    step = make_step(model, optimizer, task.loss, metric)
    state = start(model, optimizer, metric)
    batches, seconds = shared.batches(task), []
    for epoch in range(task.epochs):
        batches.start_epoch(epoch)
        state = state._replace(metric=copies(metric.variables))
        began = time.perf_counter()
        _, state = train(step, state, batches)
        seconds.append(time.perf_counter() - began)
        error = metric.stateless_result(state.metric)
        print(f"epoch {epoch + 1}: {float(error):.4f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        save(state, folder / "state")
        put_back(restore(folder / "state", state), model, metric)
        model.save(folder / "model.keras")  # Keras: opens on any backend.
        model = keras.saving.load_model(folder / "model.keras")
    predicted = model.predict(task.test[0], task.batch_size, verbose=0)
    report(task, task.finish(predicted), seconds)


if __name__ == "__main__":
    main()
