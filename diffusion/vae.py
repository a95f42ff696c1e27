"""The autoencoder between pictures and latents."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from diffusion.attention import Attention
from diffusion.blocks import (
    Downsample,
    ResnetBlock,
    Shape,
    Upsample,
    check_data_format,
    convolution,
    depth_to_space,
    from_last,
    group_norm,
    space_to_depth,
    to_last,
)
from keras_multi.layers import Dense

EPSILON = 1e-6
LOG_VARIANCE = (-30.0, 20.0)


@keras.saving.register_keras_serializable("diffusion")
class VAE(keras.Model):
    """The variational autoencoder of Stable Diffusion.

    Rombach et al. 2022, "High-Resolution Image Synthesis with Latent
    Diffusion Models", section 3.1 and appendix G; Kingma and Welling 2014,
    "Auto-Encoding Variational Bayes".

    `encoder` and `decoder` are layers of their own.

    Args:
        latent_channels: channels of the latents.
        channels: channels at each resolution, the finest first; each halves
            the height and the width of the one before.
        layers_per_block: residual blocks at each resolution of the encoder;
            the decoder has one more.
        scaling_factor: what latents are multiplied with before diffusion, so
            that their variance is about 1. `encode` and `decode` leave it to
            the caller.
        norm_groups: groups of the normalizations; it must divide all
            `channels`.
        patch_size: side of the squares of pixels that are taken as one place.
        middle_attention: whether there is attention at the coarsest
            resolution.
        data_format: `"channels_first"` for images and latents with the
            channels after the batch. The weights are the same, and inside
            the channels are last.
        **kwargs: arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        images: float `(B, H, W, 3)` in [-1, 1]; height and width must be
            multiples of `downscale`.

    Returns:
        Float32 `(B, H, W, 3)`: the images, encoded and decoded.

    Raises:
        ValueError: if the arguments do not fit together, or the height or the
            width is not a multiple of `downscale`.

    Example:
        >>> import numpy as np
        >>> vae = VAE(channels=(8, 16), norm_groups=4)
        >>> mean, log_variance = vae.encode(np.zeros((1, 8, 8, 3)))
        >>> mean.shape, vae.decode(mean).shape
        ((1, 4, 4, 4), (1, 8, 8, 3))
    """

    def __init__(
        self,
        latent_channels: int = 4,
        channels: Sequence[int] = (128, 256, 512, 512),
        layers_per_block: int = 2,
        scaling_factor: float = 0.18215,
        norm_groups: int = 32,
        patch_size: int = 1,
        middle_attention: bool = True,
        data_format: str = "channels_last",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if norm_groups < 1 or any(
            dim < 1 or dim % norm_groups for dim in channels
        ):
            raise ValueError(
                "`norm_groups` must divide all `channels`. Received: "
                f"norm_groups={norm_groups}, channels={channels}"
            )
        self.latent_channels = latent_channels
        self.channels = tuple(channels)
        self.layers_per_block = layers_per_block
        self.scaling_factor = scaling_factor
        self.norm_groups = norm_groups
        self.patch_size = patch_size
        self.middle_attention = middle_attention
        self.data_format = check_data_format(data_format)
        arguments = (
            latent_channels,
            self.channels,
            layers_per_block,
            norm_groups,
            patch_size,
            middle_attention,
        )
        self.encoder = Encoder(*arguments, dtype=self.dtype_policy)
        self.decoder = Decoder(*arguments, dtype=self.dtype_policy)

    @property
    def downscale(self) -> int:
        """Side of the square of pixels that becomes one latent."""
        return int(self.patch_size * 2 ** (len(self.channels) - 1))

    def build(self, *_: Any) -> None:
        """Makes the weights, if they are not there yet."""
        if self.built:
            return
        self.encoder.build((None, None, None, 3))
        self.decoder.build((None, None, None, self.latent_channels))

    def encode(self, images: Any) -> tuple[Any, Any]:
        """Tells where the latents of pictures lie.

        Args:
            images: float `(B, H, W, 3)` in [-1, 1].

        Returns:
            Mean and logarithm of the variance of a normal distribution, each
            float32 `(B, H / downscale, W / downscale, latent_channels)`.

        Raises:
            ValueError: if the height or the width is not a multiple of
                `downscale`.
        """
        images = to_last(images, self.data_format)
        height, width = images.shape[1:3]
        if height % self.downscale or width % self.downscale:
            raise ValueError(
                f"height and width must be multiples of {self.downscale}. "
                f"Received: images of shape {tuple(images.shape)}"
            )
        self.build()
        moments = self.encoder(images)
        mean, log_variance = (
            from_last(part, self.data_format)
            for part in ops.split(moments, 2, axis=-1)
        )
        return mean, ops.clip(log_variance, *LOG_VARIANCE)

    def decode(self, latents: Any) -> Any:
        """Makes pictures of latents.

        Args:
            latents: float `(B, h, w, latent_channels)`.

        Returns:
            Float32 `(B, h * downscale, w * downscale, 3)`, about in [-1, 1].
        """
        self.build()
        pictures = self.decoder(to_last(latents, self.data_format))
        return from_last(pictures, self.data_format)

    def call(self, images: Any) -> Any:
        """Encodes and decodes; see the class."""
        mean, _ = self.encode(images)
        return self.decode(mean)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {
            **super().get_config(),
            "latent_channels": self.latent_channels,
            "channels": self.channels,
            "layers_per_block": self.layers_per_block,
            "scaling_factor": self.scaling_factor,
            "norm_groups": self.norm_groups,
            "patch_size": self.patch_size,
            "middle_attention": self.middle_attention,
            "data_format": self.data_format,
        }


class Encoder(keras.layers.Layer):
    """From pictures to the moments of their latents; see `VAE`."""

    def __init__(
        self,
        latent_channels: int,
        channels: Sequence[int],
        layers_per_block: int,
        norm_groups: int,
        patch_size: int,
        middle_attention: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.patch_size = patch_size
        self.conv_in = convolution(channels[0], dtype=policy)
        last = len(channels) - 1
        self.blocks = tuple(
            Stage(
                dim,
                layers_per_block,
                norm_groups,
                Downsample(dim, symmetric=False, dtype=policy)
                if i < last
                else None,
                dtype=policy,
            )
            for i, dim in enumerate(channels)
        )
        self.middle = Middle(
            channels[-1], norm_groups, middle_attention, dtype=policy
        )
        self.norm_out = group_norm(norm_groups, EPSILON, policy)
        self.conv_out = convolution(2 * latent_channels, dtype=policy)
        self.project_out = Dense(2 * latent_channels, dtype=policy)

    def build(self, input_shape: Shape) -> None:
        """Makes the weights."""
        dim = _build(self.conv_in, input_shape[-1] * self.patch_size**2)
        for block in self.blocks:
            block.build((None, None, None, dim))
            dim = block.channels
        for layer in (self.middle, self.norm_out):
            layer.build((None, None, None, dim))
        _build(self.project_out, _build(self.conv_out, dim))

    def call(self, images: Any) -> Any:
        """Computes `(B, h, w, 2 * latent_channels)`, float32."""
        x = self.conv_in(space_to_depth(images, self.patch_size))
        for block in self.blocks:
            x = block(x)
        x = self.norm_out(self.middle(x))
        x = self.project_out(self.conv_out(ops.silu(x)))
        return ops.cast(x, "float32")


class Decoder(keras.layers.Layer):
    """From latents to pictures; see `VAE`."""

    def __init__(
        self,
        latent_channels: int,
        channels: Sequence[int],
        layers_per_block: int,
        norm_groups: int,
        patch_size: int,
        middle_attention: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.patch_size = patch_size
        self.project_in = Dense(latent_channels, dtype=policy)
        self.conv_in = convolution(channels[-1], dtype=policy)
        self.middle = Middle(
            channels[-1], norm_groups, middle_attention, dtype=policy
        )
        last = len(channels) - 1
        self.blocks = tuple(
            Stage(
                dim,
                layers_per_block + 1,
                norm_groups,
                Upsample(dim, dtype=policy) if i < last else None,
                dtype=policy,
            )
            for i, dim in enumerate(reversed(channels))
        )
        self.norm_out = group_norm(norm_groups, EPSILON, policy)
        self.conv_out = convolution(3 * patch_size**2, dtype=policy)

    def build(self, input_shape: Shape) -> None:
        """Makes the weights."""
        dim = _build(self.project_in, input_shape[-1])
        dim = _build(self.conv_in, dim)
        stages: list[Middle | Stage] = [self.middle, *self.blocks]
        for stage in stages:
            stage.build((None, None, None, dim))
            dim = stage.channels
        self.norm_out.build((None, None, None, dim))
        _build(self.conv_out, dim)

    def call(self, latents: Any) -> Any:
        """Computes `(B, H, W, 3)`, float32."""
        x = self.middle(self.conv_in(self.project_in(latents)))
        for block in self.blocks:
            x = block(x)
        x = self.conv_out(ops.silu(self.norm_out(x)))
        return ops.cast(depth_to_space(x, self.patch_size), "float32")


class Stage(keras.layers.Layer):
    """Residual blocks at one resolution, then the way to the next."""

    def __init__(
        self,
        channels: int,
        num_resnets: int,
        norm_groups: int,
        resample: Downsample | Upsample | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.resnets = tuple(
            _resnet(channels, norm_groups, self.dtype_policy)
            for _ in range(num_resnets)
        )
        self.resample = resample

    def build(self, input_shape: Shape) -> None:
        """Makes the weights."""
        dim = input_shape[-1]
        for resnet in self.resnets:
            resnet.build((None, None, None, dim))
            dim = self.channels
        if self.resample is not None:
            self.resample.build((None, None, None, dim))

    def call(self, x: Any) -> Any:
        """Computes the blocks one after the other."""
        for resnet in self.resnets:
            x = resnet(x)
        return x if self.resample is None else self.resample(x)


class Middle(keras.layers.Layer):
    """Two residual blocks with attention of one head between them."""

    def __init__(
        self, channels: int, norm_groups: int, attends: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.channels = channels
        self.first = _resnet(channels, norm_groups, policy)
        self.second = _resnet(channels, norm_groups, policy)
        self.attends = attends
        if attends:
            self.norm = group_norm(norm_groups, EPSILON, policy)
            self.attention = Attention(1, use_bias=True, dtype=policy)

    def build(self, input_shape: Shape) -> None:
        """Makes the weights."""
        self.first.build(input_shape)
        if self.attends:
            self.norm.build(input_shape)
            self.attention.build((None, None, self.channels))
        self.second.build(input_shape)

    def call(self, x: Any) -> Any:
        """Computes `(B, h, w, channels)` from the same."""
        x = self.first(x)
        if self.attends:
            _, height, width, dim = x.shape
            tokens = ops.reshape(self.norm(x), (-1, height * width, dim))
            tokens = self.attention(tokens)
            x = x + ops.reshape(tokens, (-1, height, width, dim))
        return self.second(x)


def _resnet(channels: int, norm_groups: int, dtype: Any) -> ResnetBlock:
    return ResnetBlock(
        channels, norm_groups=norm_groups, epsilon=EPSILON, dtype=dtype
    )


def _build(layer: keras.layers.Layer, dim: int) -> int:
    """Builds a layer for an input of `dim` channels; gives its own number."""
    shape = (None, None, None, dim)
    layer.build(shape)
    return int(layer.compute_output_shape(shape)[-1])
