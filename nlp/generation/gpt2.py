"""GPT-2 as a pure function of its weights, for generation.

The layers of the model serve for training: each call of one costs time on
PyTorch, and their matrices lie as training wants them. Here the weights are
plain tensors, cast and laid out once, and a call computes some tokens more of
a sequence whose keys and values are in a cache.
"""

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

from keras import ops

from keras_multi import backend
from keras_multi.layers import gelu_tanh
from nlp.gpt2 import GPT2

HIDDEN = -1e30  # a score whose share in a softmax is zero

Caches = tuple[tuple[Any, Any], ...]


@functools.cache
def kernels() -> ModuleType:
    """The functions of the backend; looking for it costs time."""
    return backend.framework()


class Norm(NamedTuple):
    """Scale and shift of a normalization, `(D,)` each."""

    gamma: Any
    beta: Any


class Linear(NamedTuple):
    """A matrix `(out, in)` and a bias `(out,)`."""

    weight: Any
    bias: Any


class Block(NamedTuple):
    """The weights of a block."""

    attention_norm: Norm
    qkv: Linear
    output: Linear
    mlp_norm: Norm
    expand: Linear
    contract: Linear


class Weights(NamedTuple):
    """The weights of a model, in its compute dtype."""

    tokens: Any  # (V, D)
    positions: Any  # (max_length, D)
    blocks: tuple[Block, ...]
    norm: Norm


def weights_of(model: GPT2) -> Weights:
    """Copies the weights of a model, in the layout that generates fastest."""
    model.build()
    dtype = model.compute_dtype
    constant = kernels().constant

    def copied(variable: Any) -> Any:
        return constant(ops.cast(variable, dtype))

    def linear(layer: Any) -> Linear:
        weight = constant(ops.transpose(ops.cast(layer.kernel, dtype)))
        return Linear(weight, copied(layer.bias))

    def norm(layer: Any) -> Norm:
        return Norm(copied(layer.gamma), copied(layer.beta))

    return Weights(
        copied(model.tokens.embeddings),
        copied(model.positions.embeddings),
        tuple(
            Block(
                norm(block.attention_norm),
                linear(block.attention.qkv),
                linear(block.attention.output_dense),
                norm(block.mlp_norm),
                linear(block.expand),
                linear(block.contract),
            )
            for block in model.blocks
        ),
        norm(model.norm),
    )


@dataclass(frozen=True)
class Decoder:
    """Computes some tokens of sequences whose earlier ones are in a cache.

    Attributes:
        num_heads: attention heads per block.
        epsilon: added to the variance by the normalizations.
    """

    num_heads: int
    epsilon: float

    def empty(self, weights: Weights, batch: int, slots: int) -> Caches:
        """Makes caches for so many sequences and tokens."""
        dim, dtype = weights.tokens.shape[1], weights.tokens.dtype
        shape = (batch, self.num_heads, slots, dim // self.num_heads)
        return tuple(
            (ops.zeros(shape, dtype), ops.zeros(shape, dtype))
            for _ in weights.blocks
        )

    def __call__(
        self,
        weights: Weights,
        token_ids: Any,
        positions: Any,
        caches: Caches,
        slot: Any,
        mask: Any,
    ) -> tuple[Any, Caches]:
        """Computes tokens and puts their keys and values into the caches.

        Args:
            weights: of the model.
            token_ids: int32 `(B, T)`.
            positions: int32 `(B, T)`, the place of each in its sequence.
            caches: keys and values of each block, `(B, H, S, D / H)`.
            slot: int scalar, where in the caches the first token goes.
            mask: bool `(B, 1, T, S)`, the slots that each token sees.

        Returns:
            The normalised stream `(B, T, D)`, and the new caches.
        """
        x = ops.take(weights.tokens, token_ids, axis=0)
        x = x + ops.take(weights.positions, positions, axis=0)  # (B, T, D)
        updated = []
        for block, cache in zip(weights.blocks, caches, strict=True):
            x, cache = self._block(block, x, cache, slot, mask)
            updated.append(cache)
        return self._normalize(weights.norm, x), tuple(updated)

    def logits(self, weights: Weights, hidden: Any) -> Any:
        """Turns the stream `(B, T, D)` into float32 logits `(B, T, V)`."""
        linear = kernels().linear
        return ops.cast(linear(hidden, weights.tokens), "float32")

    def _block(
        self,
        block: Block,
        x: Any,
        cache: tuple[Any, Any],
        slot: Any,
        mask: Any,
    ) -> tuple[Any, tuple[Any, Any]]:
        linear = kernels().linear
        write = kernels().write
        batch, tokens, dim = x.shape
        heads, head_dim = self.num_heads, dim // self.num_heads

        qkv = linear(self._normalize(block.attention_norm, x), *block.qkv)
        qkv = ops.reshape(qkv, (batch, tokens, 3, heads, head_dim))
        qkv = ops.transpose(qkv, (2, 0, 3, 1, 4))  # (3, B, H, T, D / H)
        keys = write(cache[0], qkv[1], (0, 0, slot, 0))  # (B, H, S, D / H)
        values = write(cache[1], qkv[2], (0, 0, slot, 0))

        scores = ops.matmul(qkv[0], ops.transpose(keys, (0, 1, 3, 2)))
        scores = ops.cast(scores, "float32") * head_dim**-0.5  # (B, H, T, S)
        shares = ops.softmax(ops.where(mask, scores, HIDDEN), axis=-1)
        attended = ops.matmul(ops.cast(shares, x.dtype), values)
        attended = ops.transpose(attended, (0, 2, 1, 3))  # (B, T, H, D / H)
        attended = ops.reshape(attended, (batch, tokens, dim))

        x = x + linear(attended, *block.output)
        hidden = linear(self._normalize(block.mlp_norm, x), *block.expand)
        x = x + linear(gelu_tanh(hidden), *block.contract)
        return x, (keys, values)

    def _normalize(self, norm: Norm, x: Any) -> Any:
        return ops.layer_normalization(x, *norm, epsilon=self.epsilon)
