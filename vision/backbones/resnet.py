"""Residual network."""

from collections.abc import Sequence
from typing import Any

import keras

from vision.backbones.blocks import ConvNorm


def ResNet(
    depths: Sequence[int] = (1, 1, 1),
    widths: Sequence[int] = (32, 64, 128),
    channels: int = 3,
    large_images: bool = False,
    dtype: Any = None,
    name: str = "resnet",
) -> keras.Model:
    """Makes a residual network of basic blocks, with random weights.

    He et al. 2016, "Deep residual learning for image recognition", figure 5
    (left). Each stage after the first halves height and width. The shortcut
    of a block that changes the shape is a convolution of 1x1 (option B).

    Args:
        depths: number of blocks of each stage. `(2, 2, 2, 2)` with `widths`
            of `(64, 128, 256, 512)` and `large_images` is the ResNet-18.
        widths: number of channels of each stage.
        channels: channels of the images, 1 for grey and 3 for colour.
        large_images: whether to begin as in table 1, with a convolution of
            7x7 and a pooling that leave a quarter of height and width. By
            default it begins as in section 4.2 (CIFAR-10), at full size.
        dtype: dtype or policy of the layers.
        name: name of the model.

    Returns:
        Model from images `(batch, height, width, channels)` with values from
        0 to 255 to features `(batch, h, w, widths[-1])`.

    Raises:
        ValueError: if `depths` and `widths` are empty, differ in length or
            hold a number below 1, or `channels` is below 1.

    Example:
        >>> import numpy as np
        >>> from vision.backbones import ResNet
        >>> images = np.zeros((2, 28, 28, 1))
        >>> ResNet(depths=(1, 1), widths=(8, 16), channels=1)(images).shape
        (2, 14, 14, 16)
    """
    sizes = (*depths, *widths)
    if not depths or len(depths) != len(widths) or any(n < 1 for n in sizes):
        raise ValueError(
            "`depths` and `widths` must hold one positive integer for each "
            f"stage. Received: depths={depths}, widths={widths}"
        )
    if channels < 1:
        raise ValueError(
            f"`channels` must be at least 1. Received: channels={channels}"
        )
    conv_norm = ConvNorm(
        epsilon=1e-5, momentum=0.9, activation="relu", dtype=dtype
    )
    images = keras.Input((None, None, channels), name="images")
    x = keras.layers.Rescaling(1 / 127.5, -1, dtype=dtype, name="rescale")(
        images
    )
    if large_images:
        x = conv_norm(x, widths[0], 7, 2, name="stem")
        x = keras.layers.MaxPooling2D(
            3, 2, padding="same", dtype=dtype, name="stem_pool"
        )(x)
    else:
        x = conv_norm(x, widths[0], 3, name="stem")
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), 1):
        for block in range(1, depth + 1):
            strides = 2 if block == 1 and stage > 1 else 1
            x = _block(x, width, strides, conv_norm, f"stage{stage}_{block}")
    return keras.Model(images, x, name=name)


def _block(
    x: Any, width: int, strides: int, conv_norm: ConvNorm, name: str
) -> Any:
    shortcut = x
    if strides > 1 or x.shape[-1] != width:
        shortcut = conv_norm(
            x, width, 1, strides, activate=False, name=f"{name}_shortcut"
        )
    x = conv_norm(x, width, 3, strides, name=f"{name}_1")
    x = conv_norm(x, width, 3, activate=False, name=f"{name}_2")
    x = keras.layers.Add(dtype=conv_norm.dtype, name=f"{name}_add")(
        [x, shortcut]
    )
    return keras.layers.Activation(
        conv_norm.activation, dtype=conv_norm.dtype, name=f"{name}_out"
    )(x)
