"""GPT-2 as a pure function of its weights; see `Decoder`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from keras import ops

from keras_multi.layers import gelu_tanh, layer_normalization
from nlp.generation.decoder import (
    Caches,
    Linear,
    Table,
    copied,
    empty_caches,
    extend,
    linear_of,
    table_of,
)

if TYPE_CHECKING:
    from nlp.gpt2 import GPT2


class Norm(NamedTuple):
    """Scale and shift of a normalization, `(D,)` each."""

    gamma: Any
    beta: Any


class Block(NamedTuple):
    """The weights of a block."""

    attention_norm: Norm
    qkv: Linear
    output: Linear
    mlp_norm: Norm
    expand: Linear
    contract: Linear


class GPT2Weights(NamedTuple):
    """The weights of a model, in its compute dtype."""

    tokens: Table
    positions: Any  # (max_length, D)
    blocks: tuple[Block, ...]
    norm: Norm


def weights_of(model: "GPT2") -> GPT2Weights:
    """Copies the weights of a model, in the layout for generation."""
    model.build()
    dtype = model.compute_dtype

    def norm(layer: Any) -> Norm:
        return Norm(copied(layer.gamma, dtype), copied(layer.beta, dtype))

    return GPT2Weights(
        table_of(model.tokens, dtype),
        copied(model.positions.table(), dtype),
        tuple(
            Block(
                norm(block.attention_norm),
                linear_of(block.attention.qkv, dtype),
                linear_of(block.attention.output_dense, dtype),
                norm(block.mlp_norm),
                linear_of(block.expand, dtype),
                linear_of(block.contract, dtype),
            )
            for block in model.blocks
        ),
        norm(model.norm),
    )


@dataclass(frozen=True)
class GPT2Decoder:
    """The decoder of GPT-2.

    Attributes:
        num_heads: attention heads per block.
        epsilon: added to the variance by the normalizations.
    """

    num_heads: int
    epsilon: float

    one_by_one: ClassVar[bool] = False  # whether each prompt runs alone
    gives_logits: ClassVar[bool] = False  # in place of the stream

    def empty(self, weights: GPT2Weights, batch: int, slots: int) -> Caches:
        """Makes caches; see `Decoder`."""
        dim = weights.positions.shape[1]
        shape = (batch, self.num_heads, slots, dim // self.num_heads)
        dtype = weights.positions.dtype
        return empty_caches(len(weights.blocks), shape, dtype)

    def __call__(
        self,
        weights: GPT2Weights,
        token_ids: Any,
        positions: Any,
        caches: Caches,
        slot: Any,
        mask: Any,
    ) -> tuple[Any, Caches]:
        """Computes tokens; see `Decoder`."""
        x = weights.tokens(token_ids)
        x = x + ops.take(weights.positions, positions, axis=0)  # (B, T, D)
        updated = []
        for block, cache in zip(weights.blocks, caches, strict=True):
            x, cache = self._block(block, x, cache, slot, mask)
            updated.append(cache)
        return self._normalize(weights.norm, x), tuple(updated)

    def logits(self, weights: GPT2Weights, hidden: Any) -> Any:
        """Turns the stream into logits; see `Decoder`."""
        return weights.tokens.logits(hidden)

    def _block(
        self,
        block: Block,
        x: Any,
        cache: tuple[Any, Any],
        slot: Any,
        mask: Any,
    ) -> tuple[Any, tuple[Any, Any]]:
        batch, tokens, dim = x.shape
        heads, head_dim = self.num_heads, dim // self.num_heads

        qkv = block.qkv(self._normalize(block.attention_norm, x))
        qkv = ops.reshape(qkv, (batch, tokens, 3, heads, head_dim))
        qkv = ops.transpose(qkv, (2, 0, 3, 1, 4))  # (3, B, H, T, D / H)
        attended, cache = extend(qkv[0], qkv[1], qkv[2], cache, slot, mask)

        x = x + block.output(attended)
        hidden = block.expand(self._normalize(block.mlp_norm, x))
        x = x + block.contract(gelu_tanh(hidden))
        return x, cache

    def _normalize(self, norm: Norm, x: Any) -> Any:
        return layer_normalization(x, *norm, self.epsilon)
