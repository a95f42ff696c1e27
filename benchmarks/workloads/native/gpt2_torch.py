"""GPT-2 in plain PyTorch: `nn.Module`, autocast, fused Adam."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.dcn import LEARNING_RATE
from benchmarks.gpt2 import Size, Texts
from benchmarks.workload import Setting
from benchmarks.workloads.native.torch import as_keras


class Block(nn.Module):
    """Attention and a perceptron, each normalised before and added."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        dim = size.hidden_dim
        self.num_heads = size.num_heads
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.ModuleDict(
            {"c_attn": nn.Linear(dim, 3 * dim), "c_proj": nn.Linear(dim, dim)}
        )
        self.mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(dim, 4 * dim),
                "c_proj": nn.Linear(4 * dim, dim),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computes `(batch, tokens, dim)`."""
        batch, length, dim = x.shape
        qkv = self.attn["c_attn"](self.ln_1(x))
        heads = (batch, length, 3, self.num_heads, -1)
        q, k, v = qkv.view(heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed = mixed.transpose(1, 2).reshape(batch, length, dim)
        x = x + self.attn["c_proj"](mixed)
        hidden = self.mlp["c_fc"](self.ln_2(x))
        hidden = functional.gelu(hidden, approximate="tanh")
        x = x + self.mlp["c_proj"](hidden)
        return x


class Module(nn.Module):
    """The network, its head tied to the tokens."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        dim = size.hidden_dim
        self.wte = nn.Embedding(size.vocabulary_size, dim)
        self.wpe = nn.Embedding(size.positions, dim)
        self.h = nn.ModuleList(Block(size) for _ in range(size.num_layers))
        self.ln_f = nn.LayerNorm(dim)
        linear = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
        self.load_state_dict(
            {
                name: torch.from_numpy(w.T if name.endswith(linear) else w)
                for name, w in size.weights().items()
            }
        )

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Gives logits `(batch, tokens, vocabulary)`."""
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.wte(ids) + self.wpe(places)
        for block in self.h:
            x = block(x)
        return functional.linear(self.ln_f(x), self.wte.weight)


class GPT2:
    """The network, its optimizer and its loop."""

    def __init__(self, size: Size, setting: Setting) -> None:
        module = Module(size)
        self.mixed = setting.precision == "mixed_bfloat16"
        self.optimizer = torch.optim.Adam(
            module.parameters(), lr=LEARNING_RATE, fused=True
        )
        self.step = 0
        self.module = (
            torch.compile(module) if setting.mode == "compile" else module
        )

    def fit(self, texts: Texts, slices: Sequence[slice]) -> float:
        """Trains on some batches; gives their mean loss."""
        losses = []
        for rows in slices:
            ids = torch.from_numpy(texts.inputs(rows))
            targets = torch.from_numpy(texts.targets[rows]).long()
            self.step += 1
            as_keras(self.optimizer, self.step)
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.mixed):
                logits = self.module(ids)
            loss = functional.cross_entropy(
                logits.float().flatten(0, 1), targets.flatten()
            )
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return float(np.mean([float(x) for x in losses]))
