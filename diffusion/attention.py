"""Attention to a picture itself and to a text, channels last."""

from typing import Any

import keras
from keras import ops

from diffusion.blocks import Shape, group_norm
from keras_multi import backend
from keras_multi.layers import Dense, LayerNormalization

# Of an attention at once, half a gigabyte in float32. Stable Diffusion comes
# to as many with guidance at 512x512 pixels.
MAX_SCORES = 2**27


class Attention(keras.layers.Layer):
    """Multi-head attention to a context, or to the input itself.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.2. Where there
    are more than `MAX_SCORES`, some of the queries are answered at a time.

    Args:
        num_heads: number of heads; it must divide the width of the input.
        use_bias: whether queries, keys and values have a bias. The matrix
            that joins the heads always has one.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        x: `(B, N, C)`, what asks.
        context: `(B, T, D)`, what is looked at; `x` if `None`.
        mask: bool `(B, T)`, false where nobody may look.

    Returns:
        `(B, N, C)`.

    Raises:
        ValueError: if `num_heads` does not divide the width.
    """

    def __init__(
        self, num_heads: int, use_bias: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.use_bias = use_bias

    def build(
        self, input_shape: Shape, context_shape: Shape | None = None, *_: Any
    ) -> None:
        """Makes the weights."""
        dim = input_shape[-1]
        if dim is None or dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the width of the input. Received: "
                f"num_heads={self.num_heads}, input_shape={input_shape}"
            )
        seen = input_shape if context_shape is None else context_shape
        self.query = self._dense(dim, input_shape, self.use_bias)
        self.key = self._dense(dim, seen, self.use_bias)
        self.value = self._dense(dim, seen, self.use_bias)
        self.output_dense = self._dense(dim, input_shape, True)
        self._flash_attention = backend.framework().FLASH_ATTENTION
        self._to_attend = backend.framework().to_attend

    def _dense(self, dim: int, input_shape: Shape, use_bias: bool) -> Dense:
        dense = Dense(dim, use_bias=use_bias, dtype=self.dtype_policy)
        dense.build(input_shape)
        return dense

    def call(self, x: Any, context: Any = None, mask: Any = None) -> Any:
        """Computes the attention; see the class."""
        context = x if context is None else context
        if mask is not None:
            mask = ops.cast(mask, "bool")[:, None, None, :]  # (B, 1, 1, T)
        query, key, value = (
            self._split_heads(dense(seen))
            for dense, seen in (
                (self.query, x),
                (self.key, context),
                (self.value, context),
            )
        )
        if self._to_attend is not None:
            query, key, value = map(self._to_attend, (query, key, value))

        def attend(queries: Any) -> Any:
            return ops.dot_product_attention(
                queries,
                key,
                value,
                mask=mask,
                flash_attention=self._flash_attention,
            )

        slices = self._slices(x, context)
        if slices == 1:
            attended = attend(query)  # (B, N, heads, C / heads)
        else:
            shape = (-1, slices, x.shape[1] // slices, *query.shape[2:])
            parts = ops.swapaxes(ops.reshape(query, shape), 0, 1)
            attended = ops.swapaxes(ops.map(attend, parts), 0, 1)
        attended = ops.cast(attended, self.compute_dtype)
        joined = ops.reshape(attended, (-1, *x.shape[1:]))
        return self.output_dense(joined)

    def _slices(self, x: Any, context: Any) -> int:
        """In how many equal parts the queries are answered."""
        batch, tokens, _ = x.shape
        # In JAX an unknown batch size is a symbol, which cannot be compared.
        batch = batch if isinstance(batch, int) else 1
        scores = batch * self.num_heads * tokens * context.shape[1]
        least = max(1, -(-scores // MAX_SCORES))
        equal = (n for n in range(least, tokens) if tokens % n == 0)
        return next(equal, tokens)

    def _split_heads(self, x: Any) -> Any:
        _, tokens, dim = x.shape
        heads = self.num_heads
        return ops.reshape(x, (-1, tokens, heads, dim // heads))


class TransformerLayer(keras.layers.Layer):
    """Self-attention, attention to the text, and a gated perceptron.

    Rombach et al. 2022, "High-Resolution Image Synthesis with Latent
    Diffusion Models", appendix E.2.1; the perceptron is the GEGLU of Shazeer
    2020, "GLU Variants Improve Transformer", equation 6.

    Args:
        num_heads: attention heads.
        context_dim: width of the context.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        x: `(B, N, C)`.
        context: `(B, T, context_dim)`.
        mask: bool `(B, T)`, false at parts of the context that do not count.

    Returns:
        `(B, N, C)`.
    """

    def __init__(self, num_heads: int, context_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.context_dim = context_dim
        self.norm1, self.norm2, self.norm3 = (
            LayerNormalization(epsilon=1e-5, dtype=policy) for _ in range(3)
        )
        self.self_attention = Attention(num_heads, dtype=policy)
        self.cross_attention = Attention(num_heads, dtype=policy)

    def build(self, input_shape: Shape, *_: Any) -> None:
        """Makes the weights."""
        for layer in (self.norm1, self.norm2, self.norm3, self.self_attention):
            layer.build(input_shape)
        self.cross_attention.build(input_shape, (None, None, self.context_dim))
        dim = input_shape[-1]
        policy = self.dtype_policy
        self.expand = Dense(8 * dim, dtype=policy)
        self.expand.build(input_shape)
        self.contract = Dense(dim, dtype=policy)
        self.contract.build((None, None, 4 * dim))

    def call(self, x: Any, context: Any, mask: Any = None) -> Any:
        """Computes the layer; see the class."""
        x = x + self.self_attention(self.norm1(x))
        x = x + self.cross_attention(self.norm2(x), context, mask)
        value, gate = ops.split(self.expand(self.norm3(x)), 2, axis=-1)
        return x + self.contract(value * ops.gelu(gate, approximate=False))


class SpatialTransformer(keras.layers.Layer):
    """Lets every place of a picture look at the others and at the text.

    Rombach et al. 2022, appendix E.2.1. The projections before and after are
    convolutions of size 1 or linear maps: the same thing.

    Args:
        num_heads: attention heads.
        context_dim: width of the context.
        num_layers: number of transformer layers.
        norm_groups: groups of the normalization.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        x: `(B, H, W, C)`; height and width static.
        context: `(B, T, context_dim)`.
        mask: bool `(B, T)`, false at parts of the context that do not count.

    Returns:
        `(B, H, W, C)`.
    """

    def __init__(
        self,
        num_heads: int,
        context_dim: int,
        num_layers: int = 1,
        norm_groups: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.norm = group_norm(norm_groups, 1e-6, policy)
        self.layers = tuple(
            TransformerLayer(num_heads, context_dim, dtype=policy)
            for _ in range(num_layers)
        )

    def build(self, input_shape: Shape, *_: Any) -> None:
        """Makes the weights."""
        dim = input_shape[-1]
        tokens = (None, None, dim)
        policy = self.dtype_policy
        self.norm.build(input_shape)
        self.project_in = Dense(dim, dtype=policy)
        self.project_in.build(tokens)
        for layer in self.layers:
            layer.build(tokens)
        self.project_out = Dense(dim, kernel_initializer="zeros", dtype=policy)
        self.project_out.build(tokens)

    def call(self, x: Any, context: Any, mask: Any = None) -> Any:
        """Computes the block; see the class."""
        _, height, width, dim = x.shape
        tokens = ops.reshape(self.norm(x), (-1, height * width, dim))
        tokens = self.project_in(tokens)
        for layer in self.layers:
            tokens = layer(tokens, context, mask)
        tokens = self.project_out(tokens)
        return x + ops.reshape(tokens, (-1, height, width, dim))
