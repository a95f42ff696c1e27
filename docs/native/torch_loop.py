"""A Keras model in a loop of PyTorch.

    python docs/native/torch_loop.py

Keras gives the model, the loss and the metric. On this backend a Keras model
is a `torch.nn.Module`: PyTorch feeds, differentiates, compiles and updates.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import ratings

ratings.require("torch")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from keras_multi.training import Batches  # noqa: E402


class Rater(torch.nn.Module):
    """A PyTorch module that has the Keras model as a part.

    Ratings lie between 1 and 5, so predictions are cut there outside of
    training.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Predicts ratings, `(batch, 1)`."""
        predicted: torch.Tensor = self.model(inputs, training=self.training)
        return predicted if self.training else predicted.clamp(1.0, 5.0)


def make_step(
    module: torch.nn.Module, model: keras.Model, optimizer: Any, loss: Any
) -> Callable[..., Any]:
    """Makes a training step: `(x, y) -> (loss, predictions)`."""

    def step(x: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
        optimizer.zero_grad(set_to_none=True)
        predicted = module(x)
        # Keras: the loss, and the penalties that its layers have left.
        value = loss(y, predicted) + sum(model.losses)
        # PyTorch: gradients and update.
        value.backward()
        optimizer.step()
        return value.detach(), predicted.detach()

    return step


def train(
    step: Callable[..., Any], metric: keras.Metric, batches: Iterable[Any]
) -> list[float]:
    """Goes over the batches once; gives the loss of each."""
    losses = []
    for x, y in batches:
        value, predicted = step(x, y)
        metric.update_state(y, predicted)
        losses.append(value)  # Nothing waits for it.
    return [float(value) for value in losses]


def to_tensors(batch: Any) -> Any:
    """Turns the arrays of a batch into tensors; a `DataLoader` calls it."""
    return keras.tree.map_structure(torch.as_tensor, batch)


def main() -> None:
    """Trains and prints the test error."""
    data = ratings.load()
    model = data.build()
    module = Rater(model).train()
    optimizer = torch.optim.Adagrad(
        module.parameters(),
        ratings.LEARNING_RATE,
        initial_accumulator_value=ratings.START,
        eps=ratings.EPSILON,
    )
    metric = keras.metrics.RootMeanSquaredError()
    step = make_step(module, model, optimizer, keras.losses.MeanSquaredError())
    batches = Batches(data.train, ratings.BATCH_SIZE, ratings.SEED)
    # The batches come whole: the loader adds none of its own.
    loader = torch.utils.data.DataLoader(
        batches, batch_size=None, collate_fn=to_tensors
    )
    for epoch in range(ratings.EPOCHS):
        batches.start_epoch(epoch)
        metric.reset_state()
        began = time.perf_counter()
        train(step, metric, loader)
        milliseconds = (time.perf_counter() - began) / len(batches) * 1e3
        error = float(metric.result())
        print(f"epoch {epoch + 1}: {error:.4f}, {milliseconds:.1f} ms a step")
    module.eval()
    with torch.no_grad():
        predicted = module(to_tensors(data.test[0])).numpy()
    print(f"test RMSE {np.sqrt(np.mean((predicted - data.test[1]) ** 2)):.4f}")


if __name__ == "__main__":
    main()
