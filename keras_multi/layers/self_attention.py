"""Multi-head self-attention."""

from typing import Any

import keras
from keras import ops

from keras_multi import backend
from keras_multi.layers.feature_cross import Shape, clone_initializer
from keras_multi.layers.rotary_embedding import rotate, rotation

Cache = tuple[Any, Any]


@keras.saving.register_keras_serializable("keras_multi")
class SelfAttention(keras.layers.Layer):
    """Multi-head self-attention with one matrix for queries, keys and values.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.2: each head
    computes `softmax(Q K^T / sqrt(head_dim)) V`, and a matrix joins the
    heads. The products run in the fused kernel of the backend where it has
    one (`keras.ops.dot_product_attention`).

    Several heads may share their keys and values (Ainslie et al. 2023, "GQA",
    section 2.2), and queries and keys may be turned by their positions (see
    `rotation`): both as in Llama.

    With a cache, the layer sees a part of a sequence only: it writes the keys
    and values of that part into the cache and attends to all that is there.

    Args:
        num_heads: number of heads; it must divide the width of the inputs.
        causal: whether a token sees itself and earlier tokens only.
        use_bias: whether the two linear maps have a bias.
        kernel_initializer: initializer of the matrix of queries, keys and
            values.
        output_initializer: initializer of the matrix that joins the heads;
            `kernel_initializer` if `None`.
        num_key_value_heads: number of heads of keys and values; it must
            divide `num_heads`, which it is if `None`.
        rotary_base: base of the rotary position embedding; there is none if
            `None`. Positions count all tokens, padding too: only their
            distances matter.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor `(batch, tokens, dim)`; tokens and dim static.
        padding_mask: bool tensor `(batch, tokens)`, with a cache
            `(batch, slots)`, false at tokens that nobody may see. All are
            seen if `None`. The output at such a token means nothing.
        cache: keys and values of earlier tokens, two float tensors
            `(batch, slots, num_key_value_heads, dim / num_heads)`.
        position: int scalar, number of tokens that are in the cache already;
            a tensor or a Python integer.

    Returns:
        Float tensor of the shape of the inputs. With a cache, the pair of it
        and the new cache.

    Raises:
        ValueError: if `num_heads` is not positive or does not divide the
            width, `num_key_value_heads` does not divide `num_heads`, or a
            cache is given to a layer that is not causal or without a
            position.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import SelfAttention
        >>> SelfAttention(2, causal=True)(np.ones((1, 3, 8), "float32")).shape
        (1, 3, 8)
    """

    def __init__(
        self,
        num_heads: int,
        causal: bool = False,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        output_initializer: Any = None,
        num_key_value_heads: int | None = None,
        rotary_base: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_heads < 1:
            raise ValueError(
                "`num_heads` must be a positive integer. "
                f"Received: num_heads={num_heads}"
            )
        shared = (
            num_heads if num_key_value_heads is None else (num_key_value_heads)
        )
        if shared < 1 or num_heads % shared:
            raise ValueError(
                "`num_key_value_heads` must divide `num_heads`. Received: "
                f"num_key_value_heads={shared}, num_heads={num_heads}"
            )
        self.num_heads = num_heads
        self.num_key_value_heads = shared
        self.rotary_base = rotary_base
        self.causal = causal
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer)

    def build(self, input_shape: Shape, *_: Any) -> None:
        dim = input_shape[-1]
        if dim is None or dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the width of the inputs. Received: "
                f"num_heads={self.num_heads}, input_shape={input_shape}"
            )
        # Widths of queries, keys and values; the first two end where the next
        # begin.
        shared_dim = dim // self.num_heads * self.num_key_value_heads
        self._ends = (dim, dim + shared_dim)
        self.qkv = keras.layers.Dense(
            dim + 2 * shared_dim,
            use_bias=self.use_bias,
            kernel_initializer=clone_initializer(self.kernel_initializer),
            dtype=self.dtype_policy,
        )
        self.qkv.build(input_shape)
        self.output_dense = keras.layers.Dense(
            dim,
            use_bias=self.use_bias,
            kernel_initializer=clone_initializer(
                self.output_initializer or self.kernel_initializer
            ),
            dtype=self.dtype_policy,
        )
        self.output_dense.build(input_shape)
        self._flash_attention = backend.framework().FLASH_ATTENTION

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        cache: Cache | None = None,
        position: Any = None,
    ) -> Any:
        qkv = self.qkv(inputs)
        first, second = self._ends
        query = self._split_heads(qkv[..., :first])  # (B, T, H, D / H)
        key = self._split_heads(qkv[..., first:second])
        value = self._split_heads(qkv[..., second:])
        if self.rotary_base is not None:
            positions = ops.arange(query.shape[1], dtype="int32")  # (T,)
            if position is not None:
                positions = positions + position
            cosines, sines = rotation(
                positions, query.shape[-1], self.rotary_base
            )
            angles = cosines[:, None], sines[:, None]  # (T, 1, D / H / 2)
            query, key = rotate(query, angles), rotate(key, angles)
        mask = None
        if padding_mask is not None:
            mask = ops.cast(padding_mask, "bool")[:, None, None, :]
        if cache is None:
            attended = ops.dot_product_attention(
                query,
                self._share(key),
                self._share(value),
                mask=mask,
                is_causal=self.causal,
                flash_attention=self._flash_attention,
            )
            return self._join_heads(attended)
        self._check_cache(position)
        start = (0, position, 0, 0)
        key = ops.slice_update(cache[0], start, ops.cast(key, cache[0].dtype))
        value = ops.slice_update(
            cache[1], start, ops.cast(value, cache[1].dtype)
        )
        slots = ops.arange(key.shape[1], dtype="int32")  # (S,)
        now = ops.arange(query.shape[1], dtype="int32") + position  # (T,)
        earlier = (slots <= now[:, None])[None, None]  # (1, 1, T, S)
        mask = earlier if mask is None else ops.logical_and(mask, earlier)
        attended = ops.dot_product_attention(
            query,
            self._share(key),
            self._share(value),
            mask=mask,
            flash_attention=self._flash_attention,
        )
        return self._join_heads(attended), (key, value)

    def _split_heads(self, x: Any) -> Any:
        _, tokens, dim = x.shape
        head_dim = self._ends[0] // self.num_heads
        return ops.reshape(x, (-1, tokens, dim // head_dim, head_dim))

    def _share(self, x: Any) -> Any:
        """Gives each head the keys or values of its group."""
        times = self.num_heads // self.num_key_value_heads
        if times == 1:
            return x
        _, tokens, heads, head_dim = x.shape
        x = ops.stack([x] * times, axis=3)  # (B, T, heads, times, D / H)
        return ops.reshape(x, (-1, tokens, heads * times, head_dim))

    def _join_heads(self, x: Any) -> Any:
        _, tokens, num_heads, head_dim = x.shape
        return self.output_dense(
            ops.reshape(x, (-1, tokens, num_heads * head_dim))
        )

    def _check_cache(self, position: Any) -> None:
        if not self.causal or position is None:
            raise ValueError(
                "a cache needs a causal layer and a `position`. Received: "
                f"causal={self.causal}, position={position}"
            )

    def compute_output_shape(self, input_shape: Shape, *_: Any) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "causal": self.causal,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "output_initializer": keras.initializers.serialize(
                self.output_initializer
            ),
            "num_key_value_heads": self.num_key_value_heads,
            "rotary_base": self.rotary_base,
        }
