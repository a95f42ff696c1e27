"""What generation asks of a model: a pure function of its weights.

The layers of a model serve for training: each call of one costs time on
PyTorch, and their matrices lie as training wants them. A decoder has the
weights as plain tensors, cast and laid out once, and a call computes some
tokens more of a sequence whose keys and values are in a cache.
"""

import functools
from collections.abc import Hashable
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from keras import ops

from keras_multi import backend

HIDDEN = -1e30  # a score whose share in a softmax is zero

Caches = tuple[tuple[Any, Any], ...]
Weights = Any  # of a model; among them `tokens`, the table `(V, D)`


class Decoder(Hashable, Protocol):
    """Computes some tokens of sequences whose earlier ones are in a cache.

    Decoders that compute the same are equal, and have the same hash: programs
    are compiled once for all of them.
    """

    def empty(self, weights: Weights, batch: int, slots: int) -> Caches:
        """Makes caches for so many sequences and tokens.

        Returns:
            Keys and values of each block, `(batch, heads, slots, head_dim)`.
        """

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
            caches: of S slots.
            slot: int scalar, where in the caches the first token goes.
            mask: bool `(B, 1, T, S)`, the slots that each token sees.

        Returns:
            The normalised stream `(B, T, D)`, and the new caches.
        """

    def logits(self, weights: Weights, hidden: Any) -> Any:
        """Turns the stream `(B, T, D)` into float32 logits `(B, T, V)`."""


class Linear(NamedTuple):
    """A matrix `(out, in)` and a bias `(out,)`, if there is one."""

    weight: Any
    bias: Any


@functools.cache
def kernels() -> ModuleType:
    """The functions of the backend; looking for it costs time."""
    return backend.framework()


def copied(variable: Any, dtype: str) -> Any:
    """Gives the value that a variable has now."""
    return kernels().constant(ops.cast(variable, dtype))


def linear_of(layer: Any, dtype: str) -> Linear:
    """Copies a dense layer, in the layout for generation."""
    weight = kernels().constant(ops.transpose(ops.cast(layer.kernel, dtype)))
    return Linear(weight, copied(layer.bias, dtype) if layer.use_bias else None)


def empty_caches(blocks: int, shape: tuple[int, ...], dtype: Any) -> Caches:
    """Makes keys and values of each block, all zero."""
    return tuple(
        (ops.zeros(shape, dtype), ops.zeros(shape, dtype))
        for _ in range(blocks)
    )


def tied_logits(hidden: Any, table: Any) -> Any:
    """Gives the products of the stream with the embedding of each token.

    Args:
        hidden: `(B, T, D)`.
        table: `(V, D)`.

    Returns:
        Float32 `(B, T, V)`.
    """
    return ops.cast(kernels().linear(hidden, table), "float32")


def attend(queries: Any, keys: Any, values: Any, mask: Any) -> Any:
    """Computes the attention of some tokens to all slots.

    Args:
        queries: `(B, H, T, head_dim)`.
        keys: `(B, G, S, head_dim)`; each serves `H / G` heads.
        values: `(B, G, S, head_dim)`.
        mask: bool `(B, 1, T, S)`, the slots that each token sees.

    Returns:
        The heads side by side, `(B, T, H * head_dim)`.
    """
    batch, heads, tokens, head_dim = queries.shape
    groups, slots = keys.shape[1:3]
    each = heads // groups
    together = (batch, groups, each * tokens, -1)
    scores = ops.matmul(
        ops.reshape(queries, together), ops.transpose(keys, (0, 1, 3, 2))
    )
    scores = ops.cast(scores, "float32") * head_dim**-0.5
    scores = ops.reshape(scores, (batch, groups, each, tokens, slots))
    shares = ops.softmax(ops.where(mask[:, None], scores, HIDDEN), axis=-1)
    shares = ops.cast(ops.reshape(shares, together), values.dtype)
    attended = ops.matmul(shares, values)  # (B, G, each * T, head_dim)
    attended = ops.reshape(attended, queries.shape)
    attended = ops.transpose(attended, (0, 2, 1, 3))  # (B, T, H, head_dim)
    return ops.reshape(attended, (batch, tokens, heads * head_dim))
