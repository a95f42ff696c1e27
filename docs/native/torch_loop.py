"""A Keras model in a loop of PyTorch.

    python docs/native/torch_loop.py [ratings | text]

Keras gives the model, the loss and the metric. On this backend a Keras model
is a `torch.nn.Module`: PyTorch feeds, differentiates, compiles and updates.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import shared

shared.require("torch")

import keras  # noqa: E402
import torch  # noqa: E402


class Served(torch.nn.Module):
    """A PyTorch module around the Keras model: it finishes what that gives."""

    def __init__(self, model: keras.Model, finish: Callable[..., Any]) -> None:
        super().__init__()
        # PyTorch: the weights of the Keras model become parameters of this.
        shared.check_built(model)
        self.model, self.finish = model, finish

    def forward(self, inputs: Any) -> Any:
        """Gives what the loss wants in training, else what is served."""
        predicted = self.model(inputs, training=self.training)
        return predicted if self.training else self.finish(predicted)


def make_step(
    module: torch.nn.Module, model: keras.Model, optimizer: Any, loss: Any
) -> Callable[..., Any]:
    """Makes a training step: `(x, y) -> (loss, predictions)`."""

    def step(x: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
        optimizer.zero_grad(set_to_none=True)
        predicted = module(x)
        shared.check_targets(y, predicted)
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


def feed(batches: Any) -> torch.utils.data.DataLoader:
    """PyTorch: a loader of batches that come whole, as tensors."""
    return torch.utils.data.DataLoader(
        batches, batch_size=None, collate_fn=to_tensors
    )


def to_tensors(batch: Any) -> Any:
    """Turns the arrays of a batch into tensors."""
    return keras.tree.map_structure(torch.as_tensor, batch)


def watch(layer: torch.nn.Module) -> list[float]:
    """PyTorch: a hook sees each output of a Keras layer; keeps its size."""
    sizes: list[float] = []
    layer.register_forward_hook(
        lambda layer, inputs, output: sizes.append(
            float(output.detach().abs().mean())
        )
    )
    return sizes


def load_state(module: torch.nn.Module, state: dict[str, Any]) -> None:
    """PyTorch: takes over the weights of a module of the same shape.

    Keras counts layers in their names, so a second model in a process has
    other names: order decides.
    """
    own = module.state_dict()
    shared.check_same_shapes(own.values(), state.values())
    module.load_state_dict(dict(zip(own, state.values(), strict=True)))


def main() -> None:
    """Trains, saves, exports, and prints the test error."""
    from report import report

    task = shared.load()
    model, metric = task.build(), task.make_metric()
    module = Served(model, task.finish).train()
    rate, start, epsilon = task.adagrad
    optimizer = torch.optim.Adagrad(
        module.parameters(), rate, initial_accumulator_value=start, eps=epsilon
    )
    # PyTorch: the whole module, Keras layers and all, becomes one program.
    compiled = torch.compile(module)
    step = make_step(compiled, model, optimizer, task.loss)
    batches, seconds = shared.batches(task), []
    for epoch in range(task.epochs):
        batches.start_epoch(epoch)
        metric.reset_state()
        began = time.perf_counter()
        train(step, metric, feed(batches))
        seconds.append(time.perf_counter() - began)
        print(f"epoch {epoch + 1}: {float(metric.result()):.4f}")
    inputs = to_tensors(task.test[0])
    with tempfile.TemporaryDirectory() as name:
        torch.save(module.state_dict(), Path(name) / "state.pt")
        module = Served(task.build(), task.finish).eval()
        load_state(module, torch.load(Path(name) / "state.pt"))
        # PyTorch: a graph that needs no Keras.
        program = torch.export.export(module, (inputs,))
        torch.export.save(program, Path(name) / "served.pt2")
        served = torch.export.load(Path(name) / "served.pt2").module()
    sizes = watch(module.model.layers[-1])
    with torch.no_grad():
        predicted = module(inputs)
        difference = float((served(inputs) - predicted).abs().max())
    print(f"mean output {sizes[0]:.2f}; served differs by {difference:.1e}")
    report(task, predicted, seconds)


if __name__ == "__main__":
    main()
