"""The UNet that tells the noise in latents."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from diffusion.attention import SpatialTransformer
from diffusion.blocks import (
    Downsample,
    ResnetBlock,
    Upsample,
    alone,
    check_data_format,
    convolution,
    depth_to_space,
    from_last,
    group_norm,
    space_to_depth,
    to_last,
)
from diffusion.unet_blocks import DownBlock, UpBlock, places
from keras_multi.layers import Dense


@keras.saving.register_keras_serializable("diffusion")
class UNet(keras.Model):
    """The UNet of Stable Diffusion 1 and 2.

    Rombach et al. 2022, "High-Resolution Image Synthesis with Latent
    Diffusion Models", section 3.3 and appendix E: residual blocks that know
    the time step, and attention to a text, at several resolutions. The
    defaults are those of Stable Diffusion 1; version 2 has
    `num_heads=(5, 10, 20, 20), context_dim=1024, linear_projection=True`.

    What is added to a stream starts at zero, and so does the output.

    Args:
        in_channels: channels of the latents.
        out_channels: channels of the output.
        channels: channels at each resolution, the finest first; each halves
            the height and the width of the one before.
        attention: whether there is attention, at each resolution.
        layers_per_block: residual blocks at each resolution on the way down;
            there is one more on the way up.
        num_heads: attention heads, one number or one per resolution.
        context_dim: width of the context.
        transformer_layers: transformer layers in each attention block.
        linear_projection: whether files of this model keep the projections
            around the attention as matrices (as version 2 does) and not as
            convolutions of size 1. The model itself is the same.
        norm_groups: groups of the normalizations; it must divide all
            `channels`.
        patch_size: side of the squares of latents that are taken as one
            place.
        data_format: `"channels_first"` for latents and output with the
            channels after the batch. The weights are the same, and inside
            the channels are last.
        **kwargs: arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        latents: float `(B, H, W, in_channels)`; height and width must be
            multiples of `size_multiple`.
        timesteps: `(B,)` int or float, from 0 (no noise) on.
        context: float `(B, T, context_dim)`, the text.
        context_mask: bool `(B, T)`, false at parts of the context that do not
            count; all do if `None`. Give it by name: Keras adds it by name,
            too, if it is `None`.

    Returns:
        Float32 `(B, H, W, out_channels)`.

    Raises:
        ValueError: if the arguments do not fit together, or the height or the
            width is not a multiple of `size_multiple`.

    Example:
        >>> import numpy as np
        >>> unet = UNet(channels=(8, 16), attention=(True, False),
        ...     num_heads=2, context_dim=6, norm_groups=4)
        >>> latents, text = np.ones((1, 4, 4, 4)), np.ones((1, 3, 6))
        >>> unet(latents, np.array([10]), text).shape
        (1, 4, 4, 4)
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        channels: Sequence[int] = (320, 640, 1280, 1280),
        attention: Sequence[bool] = (True, True, True, False),
        layers_per_block: int = 2,
        num_heads: int | Sequence[int] = 8,
        context_dim: int = 768,
        transformer_layers: int = 1,
        linear_projection: bool = False,
        norm_groups: int = 32,
        patch_size: int = 1,
        data_format: str = "channels_last",
        **kwargs: Any,
    ) -> None:
        # Time steps must not lose digits; `call` casts the rest itself.
        super().__init__(autocast=False, **kwargs)
        heads = (
            (num_heads,) * len(channels)
            if isinstance(num_heads, int)
            else tuple(num_heads)
        )
        _check(channels, attention, heads, norm_groups)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.channels = tuple(channels)
        self.attention = tuple(attention)
        self.layers_per_block = layers_per_block
        self.num_heads = num_heads if isinstance(num_heads, int) else heads
        self.context_dim = context_dim
        self.transformer_layers = transformer_layers
        self.linear_projection = linear_projection
        self.norm_groups = norm_groups
        self.patch_size = patch_size
        self.data_format = check_data_format(data_format)

        policy = self.dtype_policy
        self.time_dim = 4 * self.channels[0]
        self.time_in = Dense(self.time_dim, dtype=policy)
        self.time_out = Dense(self.time_dim, dtype=policy)
        self.conv_in = convolution(self.channels[0], dtype=policy)
        levels = tuple(zip(self.channels, self.attention, heads, strict=True))
        last = len(levels) - 1
        self.down_blocks = tuple(
            DownBlock(
                [self._resnet(dim) for _ in range(layers_per_block)],
                [
                    self._transformer(n) if attends else None
                    for _ in range(layers_per_block)
                ],
                Downsample(dim, dtype=policy) if i < last else None,
                dtype=policy,
            )
            for i, (dim, attends, n) in enumerate(levels)
        )
        self.middle = (
            self._resnet(self.channels[-1]),
            self._transformer(heads[-1]),
            self._resnet(self.channels[-1]),
        )
        self.up_blocks = tuple(
            UpBlock(
                [self._resnet(dim) for _ in range(layers_per_block + 1)],
                [
                    self._transformer(n) if attends else None
                    for _ in range(layers_per_block + 1)
                ],
                Upsample(dim, dtype=policy) if i < last else None,
                dtype=policy,
            )
            for i, (dim, attends, n) in enumerate(reversed(levels))
        )
        self.norm_out = group_norm(norm_groups, 1e-5, policy)
        self.conv_out = convolution(
            out_channels * patch_size**2,
            kernel_initializer="zeros",
            dtype=policy,
        )

    def _resnet(self, dim: int) -> ResnetBlock:
        return ResnetBlock(
            dim,
            self.time_dim,
            self.norm_groups,
            output_initializer="zeros",
            dtype=self.dtype_policy,
        )

    def _transformer(self, num_heads: int) -> SpatialTransformer:
        return SpatialTransformer(
            num_heads,
            self.context_dim,
            self.transformer_layers,
            self.norm_groups,
            dtype=self.dtype_policy,
        )

    @property
    def size_multiple(self) -> int:
        """What height and width of the latents must be multiples of."""
        return int(self.patch_size * 2 ** (len(self.channels) - 1))

    def build(self, *_: Any) -> None:
        """Makes the weights, if they are not there yet."""
        if self.built:
            return
        first = self.channels[0]
        self.time_in.build((None, first))
        self.time_out.build((None, self.time_dim))
        self.conv_in.build(places(self.in_channels * self.patch_size**2))
        skips = [first]
        dim = first
        for down in self.down_blocks:
            down.build(places(dim))
            dim = down.resnets[0].channels
            skips += [dim] * (len(down.resnets) + (down.resample is not None))
        for layer in self.middle:
            layer.build(places(dim))
        for up in self.up_blocks:
            own = [skips.pop() for _ in up.resnets]
            up.build(places(dim), own)
            dim = up.resnets[0].channels
        self.norm_out.build(places(dim))
        self.conv_out.build(places(dim))

    def call(
        self,
        latents: Any,
        timesteps: Any,
        context: Any,
        context_mask: Any = None,
    ) -> Any:
        """Tells the noise; see the class."""
        latents = to_last(latents, self.data_format)
        height, width = latents.shape[1:3]
        if height % self.size_multiple or width % self.size_multiple:
            raise ValueError(
                "height and width of the latents must be multiples of "
                f"{self.size_multiple}. "
                f"Received: latents of shape {tuple(latents.shape)}"
            )
        x = ops.cast(latents, self.compute_dtype)
        context = ops.cast(context, self.compute_dtype)
        waves = sinusoids(timesteps, self.channels[0])  # (B, C)
        time = self.time_out(ops.silu(self.time_in(waves)))  # (B, 4 C)

        x = self.conv_in(space_to_depth(x, self.patch_size))
        skips = [x]
        for down in self.down_blocks:
            x, passed = down(x, time, context, context_mask)
            skips += passed
        first, transformer, second = self.middle
        x = alone(first, x, time)
        x = alone(transformer, x, context, context_mask)
        x = alone(second, x, time)
        for up in self.up_blocks:
            own = [skips.pop() for _ in up.resnets]
            x = up(x, own, time, context, context_mask)
        x = self.conv_out(ops.silu(self.norm_out(x)))
        x = ops.cast(depth_to_space(x, self.patch_size), "float32")
        return from_last(x, self.data_format)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        config = super().get_config()
        config.pop("autocast", None)
        return {
            **config,
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "channels": self.channels,
            "attention": self.attention,
            "layers_per_block": self.layers_per_block,
            "num_heads": self.num_heads,
            "context_dim": self.context_dim,
            "transformer_layers": self.transformer_layers,
            "linear_projection": self.linear_projection,
            "norm_groups": self.norm_groups,
            "patch_size": self.patch_size,
            "data_format": self.data_format,
        }


def sinusoids(timesteps: Any, dim: int) -> Any:
    """Turns time steps into cosines and sines, `(B, dim)`.

    Vaswani et al. 2017, section 3.5, the cosines first.
    """
    half = dim // 2
    rates = ops.exp(
        ops.arange(half, dtype="float32") * (-math.log(10000) / half)
    )
    angles = ops.cast(timesteps, "float32")[:, None] * rates  # (B, dim / 2)
    return ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)


def _check(
    channels: Sequence[int],
    attention: Sequence[bool],
    heads: Sequence[int],
    norm_groups: int,
) -> None:
    if not len(channels) == len(attention) == len(heads) > 0:
        raise ValueError(
            "`channels`, `attention` and `num_heads` must have one value per "
            f"resolution. Received: channels={channels}, "
            f"attention={attention}, num_heads={heads}"
        )
    if norm_groups < 1 or any(dim < 1 or dim % norm_groups for dim in channels):
        raise ValueError(
            "`norm_groups` must divide all `channels`. Received: "
            f"norm_groups={norm_groups}, channels={channels}"
        )
