"""Llama as a pure function of its weights; see `Decoder`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from keras import ops

from keras_multi.layers import rotate, rotation
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
    from nlp.llama import Llama


class Block(NamedTuple):
    """The weights of a block."""

    attention_norm: Any  # (D,)
    qkv: Linear
    output: Linear
    mlp_norm: Any  # (D,)
    gate: Linear
    up: Linear
    down: Linear


class LlamaWeights(NamedTuple):
    """The weights of a model, in its compute dtype."""

    tokens: Table
    blocks: tuple[Block, ...]
    norm: Any  # (D,)


def weights_of(model: "Llama") -> LlamaWeights:
    """Copies the weights of a model, in the layout for generation."""
    model.build()
    dtype = model.compute_dtype
    return LlamaWeights(
        table_of(model.tokens, dtype),
        tuple(
            Block(
                copied(block.attention_norm.scale, dtype),
                linear_of(block.attention.qkv, dtype),
                linear_of(block.attention.output_dense, dtype),
                copied(block.mlp_norm.scale, dtype),
                linear_of(block.mlp.gate, dtype),
                linear_of(block.mlp.up, dtype),
                linear_of(block.mlp.down, dtype),
            )
            for block in model.blocks
        ),
        copied(model.norm.scale, dtype),
    )


@dataclass(frozen=True)
class LlamaDecoder:
    """The decoder of Llama.

    Attributes:
        num_heads: attention heads per block.
        num_key_value_heads: heads of keys and values.
        rotary_base: base of the rotary position embedding.
        epsilon: added to the mean square by the normalizations.
    """

    num_heads: int
    num_key_value_heads: int
    rotary_base: float
    epsilon: float

    one_by_one: ClassVar[bool] = False  # whether each prompt runs alone
    gives_logits: ClassVar[bool] = False  # in place of the stream

    def empty(self, weights: LlamaWeights, batch: int, slots: int) -> Caches:
        """Makes caches; see `Decoder`."""
        dim, dtype = weights.norm.shape[0], weights.norm.dtype
        head_dim = dim // self.num_heads
        shape = (batch, self.num_key_value_heads, slots, head_dim)
        return empty_caches(len(weights.blocks), shape, dtype)

    def __call__(
        self,
        weights: LlamaWeights,
        token_ids: Any,
        positions: Any,
        caches: Caches,
        slot: Any,
        mask: Any,
    ) -> tuple[Any, Caches]:
        """Computes tokens; see `Decoder`."""
        x = weights.tokens(token_ids)  # (B, T, D)
        head_dim = x.shape[-1] // self.num_heads
        cosines, sines = rotation(positions, head_dim, self.rotary_base)
        angles = cosines[:, None], sines[:, None]  # (B, 1, T, head_dim / 2)
        updated = []
        for block, cache in zip(weights.blocks, caches, strict=True):
            x, cache = self._block(block, x, angles, cache, slot, mask)
            updated.append(cache)
        return self._normalize(weights.norm, x), tuple(updated)

    def logits(self, weights: LlamaWeights, hidden: Any) -> Any:
        """Turns the stream into logits; see `Decoder`."""
        return weights.tokens.logits(hidden)

    def _block(
        self,
        block: Block,
        x: Any,
        angles: tuple[Any, Any],
        cache: tuple[Any, Any],
        slot: Any,
        mask: Any,
    ) -> tuple[Any, tuple[Any, Any]]:
        batch, tokens, dim = x.shape
        heads, groups = self.num_heads, self.num_key_value_heads

        qkv = block.qkv(self._normalize(block.attention_norm, x))
        together = (batch, tokens, heads + 2 * groups, dim // heads)
        qkv = ops.transpose(ops.reshape(qkv, together), (0, 2, 1, 3))
        turned = rotate(qkv[:, : heads + groups], angles)
        queries, keys = (
            turned[:, :heads],
            turned[:, heads:],
        )  # (B, H or G, T, .)
        values = qkv[:, heads + groups :]
        attended, cache = extend(queries, keys, values, cache, slot, mask)

        x = x + block.output(attended)
        hidden = self._normalize(block.mlp_norm, x)
        hidden = ops.silu(block.gate(hidden)) * block.up(hidden)
        return x + block.down(hidden), cache

    def _normalize(self, scale: Any, x: Any) -> Any:
        return ops.rms_normalization(x, scale, epsilon=self.epsilon)
