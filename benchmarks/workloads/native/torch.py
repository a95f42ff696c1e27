"""DCN in plain PyTorch: `nn.Module`, autocast, fused Adam."""

import contextlib
import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.dcn import EPSILON, LEARNING_RATE, Batches, Shape
from benchmarks.workload import Setting


class Module(nn.Module):
    """The network."""

    def __init__(self, shape: Shape, mixed: bool) -> None:
        super().__init__()
        self.mixed = mixed
        d = shape.input_dim
        starts = np.cumsum((0, *shape.vocabulary_sizes[:-1]))
        self.starts: torch.Tensor
        self.register_buffer("starts", torch.from_numpy(starts).int())
        self.embedding = nn.Embedding(
            sum(shape.vocabulary_sizes), shape.embedding_dim
        )
        self.crosses = nn.ModuleList(
            nn.Linear(d, d) for _ in range(shape.num_cross_layers)
        )
        widths = (d, *shape.deep_units)
        self.hidden = nn.ModuleList(
            nn.Linear(a, b) for a, b in itertools.pairwise(widths)
        )
        self.head = nn.Linear(widths[-1], 1)
        table, *layers = shape.weights()
        with torch.no_grad():
            self.embedding.weight.copy_(torch.from_numpy(table))
            linears = [*self.crosses, *self.hidden, self.head]
            for linear, w, b in zip(
                linears, layers[::2], layers[1::2], strict=True
            ):
                linear.weight.copy_(torch.from_numpy(w.T))
                linear.bias.copy_(torch.from_numpy(b))

    def forward(self, ids: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        """Predicts a number per row."""
        cast = (
            torch.autocast("cpu", dtype=torch.bfloat16)
            if self.mixed
            else contextlib.nullcontext()
        )
        with cast:
            embedded = self.embedding(ids + self.starts).flatten(1)
            x0 = torch.cat([embedded, dense], 1)
            if self.mixed:
                x0 = x0.bfloat16()
            x = x0
            for cross in self.crosses:
                x = x0 * cross(x) + x
            for hidden in self.hidden:
                x = functional.relu(hidden(x))
        return self.head(x.float())


class DCN:
    """The network, its optimizer and its loop."""

    def __init__(self, shape: Shape, setting: Setting) -> None:
        module = Module(shape, setting.precision == "mixed_bfloat16")
        self.optimizer = torch.optim.Adam(
            module.parameters(), lr=LEARNING_RATE, fused=True
        )
        self.step = 0
        self.module = (
            torch.compile(module) if setting.mode == "compile" else module
        )
        self.loss = (
            functional.binary_cross_entropy_with_logits
            if shape.binary
            else functional.mse_loss
        )

    def fit(self, batches: Batches, slices: Sequence[slice]) -> float:
        """Trains on some batches; gives the mean loss of their rows."""
        losses = []
        for rows in slices:
            ids, dense, y = (
                torch.from_numpy(part[rows])
                for part in (batches.ids, batches.dense, batches.targets)
            )
            self.step += 1
            # Keras adds epsilon before the correction of the variance's
            # bias, PyTorch after it.
            for group in self.optimizer.param_groups:
                group["eps"] = EPSILON / (1 - 0.999**self.step) ** 0.5
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.module(ids, dense), y)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        sizes = [len(batches.ids[rows]) for rows in slices]
        return float(np.average([float(x) for x in losses], weights=sizes))

    def predict(self, batches: Batches, slices: Sequence[slice]) -> np.ndarray:
        """Predicts some batches."""
        with torch.inference_mode():
            parts = [
                self.module(
                    torch.from_numpy(batches.ids[rows]),
                    torch.from_numpy(batches.dense[rows]),
                )
                for rows in slices
            ]
            return torch.cat(parts).numpy()
