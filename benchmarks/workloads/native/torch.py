"""DCN in plain PyTorch: `nn.Module`, autocast, fused Adam."""

import contextlib
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.dcn import EPSILON, LEARNING_RATE, Batches, Shape
from benchmarks.two_tower import TEMPERATURE, Pairs, Towers
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


def as_keras(optimizer: torch.optim.Optimizer, step: int) -> None:
    """Keras adds epsilon before the correction of the variance's bias."""
    for group in optimizer.param_groups:
        group["eps"] = EPSILON / (1 - 0.999**step) ** 0.5


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
            as_keras(self.optimizer, self.step)
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


class Tower(nn.Module):
    """A table and a perceptron."""

    def __init__(
        self, rows: int, towers: Towers, weights: list[np.ndarray]
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(rows, towers.embedding_dim)
        linears = [nn.Linear(a, b) for a, b in towers.matrices]
        layers: list[nn.Module] = []
        for linear in linears:
            layers += [linear, nn.ReLU()]
        self.perceptron = nn.Sequential(*layers[:-1])
        table, *rest = weights
        with torch.no_grad():
            self.embedding.weight.copy_(torch.from_numpy(table))
            for linear, w, b in zip(
                linears, rest[::2], rest[1::2], strict=True
            ):
                linear.weight.copy_(torch.from_numpy(w.T))
                linear.bias.copy_(torch.from_numpy(b))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Gives vectors."""
        vectors: torch.Tensor = self.perceptron(self.embedding(ids))
        return vectors


class TwoTower:
    """Both towers, their optimizer and their loop."""

    def __init__(self, towers: Towers, setting: Setting) -> None:
        weights = towers.weights()
        half = len(weights) // 2
        users = Tower(towers.num_users, towers, weights[:half])
        items = Tower(towers.num_items, towers, weights[half:])
        self.optimizer = torch.optim.Adam(
            [*users.parameters(), *items.parameters()],
            lr=LEARNING_RATE,
            fused=True,
        )
        self.step = 0
        mixed = setting.precision == "mixed_bfloat16"

        def loss(
            user_ids: torch.Tensor, item_ids: torch.Tensor
        ) -> torch.Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
                u, v = users(user_ids), items(item_ids)
            logits = u.float() @ v.float().T / TEMPERATURE
            rows = torch.arange(len(item_ids))
            same = item_ids[:, None] == item_ids
            same[rows, rows] = False
            return functional.cross_entropy(
                logits.masked_fill(same, -torch.inf), rows
            )

        self.loss = torch.compile(loss) if setting.mode == "compile" else loss

    def fit(self, pairs: Pairs, slices: Sequence[slice]) -> float:
        """Trains on some batches; gives their mean loss."""
        losses = []
        for rows in slices:
            user_ids, item_ids = torch.from_numpy(
                pairs.ids[rows]
            ).T.contiguous()
            self.step += 1
            as_keras(self.optimizer, self.step)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(user_ids, item_ids)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return float(np.mean([float(x) for x in losses]))


def top_k(candidates: np.ndarray, k: int) -> Callable[[np.ndarray], np.ndarray]:
    """Finds the highest scores in the matrix of all."""
    columns = torch.from_numpy(candidates).T

    @torch.inference_mode()
    def search(queries: np.ndarray) -> np.ndarray:
        scores, rows = torch.topk(torch.from_numpy(queries) @ columns, k)
        rows.numpy()
        return scores.numpy()

    return search
