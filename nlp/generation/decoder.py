"""What generation asks of a model: a pure function of its weights.

The layers of a model serve for training: each call of one costs time on
PyTorch, and their matrices lie as training wants them. A decoder has the
weights as plain tensors, cast and laid out once, and a call computes some
tokens more of a sequence whose keys and values are in a cache.
"""

from collections.abc import Hashable
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Protocol

from keras import ops

from keras_multi import backend

HIDDEN = -1e30  # a score whose share in a softmax is zero

# The functions of the backend: a compiler cannot follow its choice.
kernels: ModuleType = backend.framework()

Caches = tuple[tuple[Any, Any], ...]
Weights = Any  # of a model; among them `tokens`, the table `(V, D)`


class Decoder(Hashable, Protocol):
    """Computes some tokens of sequences whose earlier ones are in a cache.

    Decoders that compute the same are equal, and have the same hash: programs
    are compiled once for all of them.

    Attributes:
        one_by_one: whether it takes one prompt at a time only.
        gives_logits: whether it gives logits in place of the stream.
    """

    one_by_one: ClassVar[bool]
    gives_logits: ClassVar[bool]

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


class Quantized(NamedTuple):
    """A matrix of integers, and what each row of them is multiplied by."""

    values: Any  # int8 (rows, columns)
    scales: Any  # (rows,)


class Linear(NamedTuple):
    """A matrix `(out, in)` and a bias `(out,)`."""

    weight: Any  # as it is, `packed`, or `Quantized`
    bias: Any  # or `None`

    def __call__(self, x: Any) -> Any:
        """Gives `(B, T, out)` for `(B, T, in)`."""
        if isinstance(self.weight, Quantized):
            return kernels.int8_linear(x, *self.weight, self.bias)
        return kernels.linear(x, self.weight, self.bias)


class Table(NamedTuple):
    """The embeddings of the tokens, by which the head multiplies."""

    rows: Any  # (V, D), or `Quantized`
    head: Linear

    def __call__(self, token_ids: Any) -> Any:
        """Looks up `(B, T)`; gives `(B, T, D)`."""
        if not isinstance(self.rows, Quantized):
            return kernels.rows_of(self.rows, token_ids)
        values, scales = self.rows
        found = ops.take(values, token_ids, axis=0)
        scale = ops.take(scales, token_ids, axis=0)[:, :, None]
        return ops.cast(found, scale.dtype) * scale

    def logits(self, hidden: Any) -> Any:
        """Gives float32 `(B, T, V)` for the stream `(B, T, D)`."""
        return ops.cast(self.head(hidden), "float32")


def copied(variable: Any, dtype: str) -> Any:
    """Gives the value that a variable has now."""
    return kernels.constant(ops.cast(variable, dtype))


def linear_of(layer: Any, dtype: str) -> Linear:
    """Copies a dense layer, in the layout for generation."""
    bias = copied(layer.bias, dtype) if layer.use_bias else None
    if layer.quantization_mode == "int8":
        values = kernels.constant(ops.transpose(layer.kernel))
        scales = copied(1 / layer.kernel_scale, dtype)
        return Linear(Quantized(values, scales), bias)
    weight = kernels.constant(ops.transpose(ops.cast(layer.kernel, dtype)))
    return Linear(weight, bias)


def table_of(layer: Any, dtype: str) -> Table:
    """Copies an embedding, in the layout for generation."""
    if layer.quantization_mode == "int8":
        rows = Quantized(
            kernels.constant(layer.embeddings.value),
            copied(1 / layer.embeddings_scale, dtype),
        )
        return Table(rows, Linear(rows, None))
    table = copied(layer.embeddings, dtype)
    return Table(table, Linear(table, None))


class Layouts:
    """The weights of a model, as the backend multiplies by their matrices.

    Args:
        weights: of a model.
        compiled: whether PyTorch is to compile what it does with them.
    """

    def __init__(self, weights: Weights, compiled: bool) -> None:
        self._laid_out: dict[bool, Weights] = {}
        if kernels.ONE_LAYOUT:
            both = _packed(weights, alone=True, compiled=compiled)
            self._laid_out = {True: both, False: both}
        else:
            self._weights = weights

    def __call__(self, alone: bool) -> Weights:
        """Gives the weights, which stay laid out for the next call.

        Args:
            alone: whether most products will have one row only.
        """
        if alone not in self._laid_out:
            self._laid_out[alone] = _packed(self._weights, alone, False)
        return self._laid_out[alone]


def _packed(weights: Any, alone: bool, compiled: bool) -> Any:
    if isinstance(weights, Linear):
        weight = weights.weight
        if isinstance(weight, Quantized):
            values = kernels.packed_int8(weight.values, alone)
            return weights._replace(weight=weight._replace(values=values))
        return weights._replace(weight=kernels.packed(weight, alone, compiled))
    if isinstance(weights, tuple):
        parts = [_packed(part, alone, compiled) for part in weights]
        return (
            type(weights)(*parts)
            if hasattr(weights, "_fields")
            else tuple(parts)
        )
    return weights


def empty_caches(blocks: int, shape: tuple[int, ...], dtype: Any) -> Caches:
    """Makes keys and values of each block, all zero."""
    return tuple(
        (ops.zeros(shape, dtype), ops.zeros(shape, dtype))
        for _ in range(blocks)
    )


def extend(
    queries: Any, keys: Any, values: Any, cache: Any, slot: Any, mask: Any
) -> tuple[Any, tuple[Any, Any]]:
    """Puts some tokens into a cache and computes their attention to it.

    Args:
        queries: of the tokens, `(B, H, T, head_dim)`.
        keys: of the tokens, `(B, G, T, head_dim)`; each serves `H / G` heads.
        values: of the tokens, `(B, G, T, head_dim)`.
        cache: keys and values of all slots, `(B, G, S, head_dim)` each.
        slot: int32 scalar, that of the first token.
        mask: bool `(B, 1, T, S)`, the slots that each token sees.

    Returns:
        The heads side by side, `(B, T, H * head_dim)`, and the cache.
    """
    batch, heads, tokens, head_dim = queries.shape
    if tokens == 1 and kernels.attend is None:
        rows = ops.reshape(queries, (batch, keys.shape[1], -1, head_dim))
        rows = _attend_before(rows, keys, values, cache, slot, mask)
        # XLA would copy a cache that is written before it has been read, so
        # what is written needs what has been read.
        read = 0 * ops.sum(rows, axis=2, keepdims=True)
        keys, values = keys + read, values + read
        attended = ops.reshape(rows, queries.shape)
        cache = _written(cache, keys, values, slot)
    else:
        cache = _written(cache, keys, values, slot)
        attend = kernels.attend or _attend
        attended = attend(queries, cache[0], cache[1], mask)
    attended = ops.transpose(attended, (0, 2, 1, 3))  # (B, T, H, head_dim)
    return ops.reshape(attended, (batch, tokens, heads * head_dim)), cache


def _written(cache: Any, keys: Any, values: Any, slot: Any) -> tuple[Any, Any]:
    start = (0, 0, slot, 0)
    write = kernels.write
    return write(cache[0], keys, start), write(cache[1], values, start)


def _attend(queries: Any, keys: Any, values: Any, mask: Any) -> Any:
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
    return ops.reshape(attended, queries.shape)


def _attend_before(
    rows: Any, key: Any, value: Any, cache: Any, slot: Any, mask: Any
) -> Any:
    """Attends with one token, as if its key and value were in the cache.

    Args:
        rows: queries that share a key, `(B, G, H / G, head_dim)`.
        key: `(B, G, 1, head_dim)`.
        value: `(B, G, 1, head_dim)`.
        cache: keys and values of all slots, `(B, G, S, head_dim)` each.
        slot: that of the token.
        mask: bool `(B, 1, 1, S)`, the slots that it sees.
    """
    keys, values = cache
    own = ops.arange(keys.shape[2], dtype="int32") == slot  # (S,)
    # XLA would lay the keys out anew for a product with them on the right.
    scores = ops.matmul(keys, ops.transpose(rows, (0, 1, 3, 2)))
    scores = ops.transpose(scores, (0, 1, 3, 2))  # (B, G, H / G, S)
    score = ops.sum(rows * key, axis=-1, keepdims=True)
    scores = ops.cast(ops.where(own, score, scores), "float32")
    scores = ops.where(mask, scores * rows.shape[-1] ** -0.5, HIDDEN)
    shares = ops.cast(ops.softmax(scores, axis=-1), values.dtype)
    attended = ops.matmul(ops.where(own, 0, shares), values)
    share = ops.sum(ops.where(own, shares, 0), axis=-1, keepdims=True)
    return attended + share * value
