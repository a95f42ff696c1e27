"""The parts that the UNet and the autoencoder are made of, channels last."""

from typing import Any

import keras
from keras import ops

from keras_multi import backend
from keras_multi.layers import Conv2D, Dense, GroupNormalization

Shape = tuple[Any, ...]

DATA_FORMATS = ("channels_last", "channels_first")


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


def check_data_format(data_format: str) -> str:
    """Gives a data format back.

    Raises:
        ValueError: if it is none of `DATA_FORMATS`.
    """
    if data_format not in DATA_FORMATS:
        raise ValueError(
            f"`data_format` must be one of {', '.join(DATA_FORMATS)}. "
            f"Received: data_format={data_format}"
        )
    return data_format


def to_last(x: Any, data_format: str) -> Any:
    """Puts the channels of a picture last, if they are not."""
    return x if data_format == DATA_FORMATS[0] else ops.moveaxis(x, 1, -1)


def from_last(x: Any, data_format: str) -> Any:
    """Puts the channels of a picture where they are wanted."""
    return x if data_format == DATA_FORMATS[0] else ops.moveaxis(x, -1, 1)


def alone(layer: keras.layers.Layer, *args: Any) -> Any:
    """Calls a layer as a program of its own, where that saves memory."""
    own = backend.framework().alone
    return layer(*args) if own is None else own(layer, *args)


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
            self.time_projection = Dense(channels, dtype=policy)
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
            self.shortcut = Dense(self.channels, dtype=self.dtype_policy)
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
