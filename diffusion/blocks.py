"""The parts that the UNet and the autoencoder are made of, channels last."""

from typing import Any

import keras
from keras import ops

from keras_multi import backend
from keras_multi.layers import Conv2D, GroupNormalization

Shape = tuple[Any, ...]

# Of an attention at once, half a gigabyte in float32. Stable Diffusion comes
# to as many with guidance at 512x512 pixels.
MAX_SCORES = 2**27


def convolution(
    channels: int, padding: str = "same", **kwargs: Any
) -> keras.layers.Layer:
    """Gives a convolution of size 3, whatever the data format of Keras is."""
    return Conv2D(
        channels, 3, padding=padding, data_format="channels_last", **kwargs
    )


def group_norm(groups: int, epsilon: float, dtype: Any) -> keras.layers.Layer:
    """Gives a group normalization over the channels."""
    return GroupNormalization(groups, epsilon=epsilon, dtype=dtype)


def space_to_depth(x: Any, size: int) -> Any:
    """Folds squares of pixels into channels.

    Args:
        x: `(B, H, W, C)`.
        size: side of a square; it must divide the height and the width.

    Returns:
        `(B, H / size, W / size, C * size * size)`.

    Raises:
        ValueError: if `size` does not divide the height and the width.
    """
    if size == 1:
        return x
    _, height, width, channels = x.shape
    if height % size or width % size:
        raise ValueError(
            f"the height and the width must be multiples of {size}. "
            f"Received: a shape of {tuple(x.shape)}"
        )
    rows, columns = height // size, width // size
    x = ops.reshape(x, (-1, rows, size, columns, size, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, h, w, size, size, C)
    return ops.reshape(x, (-1, rows, columns, size * size * channels))


def depth_to_space(x: Any, size: int) -> Any:
    """Undoes `space_to_depth`."""
    if size == 1:
        return x
    _, rows, columns, depth = x.shape
    channels = depth // size**2
    x = ops.reshape(x, (-1, rows, columns, size, size, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, h, size, w, size, C)
    return ops.reshape(x, (-1, rows * size, columns * size, channels))


class ResnetBlock(keras.layers.Layer):
    """Two convolutions, each after a normalization, added to the input.

    He et al. 2016, "Identity Mappings in Deep Residual Networks", with the
    time step added between the two as in Ho et al. 2020, "Denoising Diffusion
    Probabilistic Models", appendix B.

    Args:
        channels: number of channels of the output.
        time_dim: width of the vector that tells the time step; no such vector
            is taken if `None`.
        norm_groups: groups of the normalizations.
        epsilon: added to the variance by the normalizations.
        output_initializer: initializer of the second convolution.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        x: `(B, H, W, C)`.
        time: `(B, time_dim)`, if the block has a `time_dim`.

    Returns:
        `(B, H, W, channels)`.
    """

    def __init__(
        self,
        channels: int,
        time_dim: int | None = None,
        norm_groups: int = 32,
        epsilon: float = 1e-5,
        output_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.channels = channels
        self.time_dim = time_dim
        self.norm1 = group_norm(norm_groups, epsilon, policy)
        self.conv1 = convolution(channels, dtype=policy)
        self.time_projection = None
        if time_dim is not None:
            self.time_projection = keras.layers.Dense(channels, dtype=policy)
        self.norm2 = group_norm(norm_groups, epsilon, policy)
        self.conv2 = convolution(
            channels, kernel_initializer=output_initializer, dtype=policy
        )
        self.shortcut: keras.layers.Layer | None = None

    def build(self, input_shape: Shape, *_: Any) -> None:
        """Makes the weights."""
        hidden = (*input_shape[:-1], self.channels)
        self.norm1.build(input_shape)
        self.conv1.build(input_shape)
        if self.time_projection is not None:
            self.time_projection.build((None, self.time_dim))
        self.norm2.build(hidden)
        self.conv2.build(hidden)
        if input_shape[-1] != self.channels:
            self.shortcut = keras.layers.Dense(
                self.channels, dtype=self.dtype_policy
            )
            self.shortcut.build(input_shape)

    def call(self, x: Any, time: Any = None) -> Any:
        """Computes the block; see the class."""
        hidden = self.conv1(ops.silu(self.norm1(x)))
        if self.time_projection is not None:
            shift = self.time_projection(ops.silu(time))  # (B, channels)
            hidden = hidden + shift[:, None, None, :]
        hidden = self.conv2(ops.silu(self.norm2(hidden)))
        if self.shortcut is not None:
            x = self.shortcut(x)
        return x + hidden


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

    def _dense(
        self, dim: int, input_shape: Shape, use_bias: bool
    ) -> keras.layers.Dense:
        dense = keras.layers.Dense(
            dim, use_bias=use_bias, dtype=self.dtype_policy
        )
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
            keras.layers.LayerNormalization(epsilon=1e-5, dtype=policy)
            for _ in range(3)
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
        self.expand = keras.layers.Dense(8 * dim, dtype=policy)
        self.expand.build(input_shape)
        self.contract = keras.layers.Dense(dim, dtype=policy)
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
        self.project_in = keras.layers.Dense(dim, dtype=policy)
        self.project_in.build(tokens)
        for layer in self.layers:
            layer.build(tokens)
        self.project_out = keras.layers.Dense(
            dim, kernel_initializer="zeros", dtype=policy
        )
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


class Downsample(keras.layers.Layer):
    """Halves height and width by a convolution of stride 2.

    Args:
        channels: number of channels.
        symmetric: whether zeros stand on all sides, as in the UNet, or only
            below and at the right, as in the autoencoder.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(
        self, channels: int, symmetric: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        start = 1 if symmetric else 0
        self.padding = ((0, 0), (start, 1), (start, 1), (0, 0))
        self.conv = convolution(
            channels, "valid", strides=2, dtype=self.dtype_policy
        )

    def build(self, input_shape: Shape) -> None:
        """Makes the weights."""
        self.conv.build(input_shape)

    def call(self, x: Any) -> Any:
        """Computes `(B, H / 2, W / 2, channels)` from `(B, H, W, C)`."""
        return self.conv(ops.pad(x, self.padding))


class Upsample(keras.layers.Layer):
    """Doubles height and width by repetition, then convolves.

    Args:
        channels: number of channels.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conv = convolution(channels, dtype=self.dtype_policy)

    def build(self, input_shape: Shape) -> None:
        """Makes the weights."""
        self.conv.build(input_shape)

    def call(self, x: Any) -> Any:
        """Computes `(B, 2 H, 2 W, channels)` from `(B, H, W, C)`."""
        return self.conv(ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2))
