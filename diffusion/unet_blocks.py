"""What the UNet does at one resolution, on its way down and up."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from diffusion.attention import SpatialTransformer
from diffusion.blocks import Downsample, ResnetBlock, Shape, Upsample, alone


class DownBlock(keras.layers.Layer):
    """Residual blocks, attention and downsampling at one resolution.

    Args:
        resnets: residual blocks.
        attentions: what follows each of them, or `None`.
        resample: what comes last, or `None`.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        x, time, context, mask: see `ResnetBlock` and `SpatialTransformer`.

    Returns:
        The output, and the list of what the way up will need.
    """

    def __init__(
        self,
        resnets: Sequence[ResnetBlock],
        attentions: Sequence[SpatialTransformer | None],
        resample: Downsample | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.resnets = tuple(resnets)
        self.attentions = tuple(attentions)
        self.resample = resample

    def build(self, input_shape: Shape, *_: Any) -> None:
        """Makes the weights."""
        others = [self.resnets[0].channels] * (len(self.resnets) - 1)
        _build_stages(self, [input_shape[-1], *others])

    def call(self, x: Any, time: Any, context: Any, mask: Any = None) -> Any:
        """Computes the block; see the class."""
        passed = []
        for resnet, attention in zip(
            self.resnets, self.attentions, strict=True
        ):
            x = alone(resnet, x, time)
            if attention is not None:
                x = alone(attention, x, context, mask)
            passed.append(x)
        if self.resample is not None:
            x = self.resample(x)
            passed.append(x)
        return x, passed


class UpBlock(keras.layers.Layer):
    """Residual blocks, attention and upsampling at one resolution.

    Args:
        resnets: residual blocks.
        attentions: what follows each of them, or `None`.
        resample: what comes last, or `None`.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        x, time, context, mask: see `ResnetBlock` and `SpatialTransformer`.
        skips: what the way down has passed, one tensor per residual block.

    Returns:
        The output.
    """

    def __init__(
        self,
        resnets: Sequence[ResnetBlock],
        attentions: Sequence[SpatialTransformer | None],
        resample: Upsample | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.resnets = tuple(resnets)
        self.attentions = tuple(attentions)
        self.resample = resample

    def build(self, input_shape: Shape, skips: Sequence[int], *_: Any) -> None:
        """Makes the weights; `skips` are the channels of what is passed."""
        dims = [input_shape[-1]] + [self.resnets[0].channels] * (len(skips) - 1)
        _build_stages(
            self, [dim + skip for dim, skip in zip(dims, skips, strict=True)]
        )

    def call(
        self, x: Any, skips: Any, time: Any, context: Any, mask: Any = None
    ) -> Any:
        """Computes the block; see the class."""
        for resnet, attention, skip in zip(
            self.resnets, self.attentions, skips, strict=True
        ):
            x = alone(resnet, ops.concatenate([x, skip], axis=-1), time)
            if attention is not None:
                x = alone(attention, x, context, mask)
        return x if self.resample is None else self.resample(x)


def places(dim: int) -> Shape:
    """Gives the shape of pictures of some number of channels."""
    return (None, None, None, dim)


def _build_stages(block: DownBlock | UpBlock, inputs: Sequence[Any]) -> None:
    out = places(block.resnets[0].channels)
    for resnet, attention, dim in zip(
        block.resnets, block.attentions, inputs, strict=True
    ):
        resnet.build(places(dim))
        if attention is not None:
            attention.build(out)
    if block.resample is not None:
        block.resample.build(out)
