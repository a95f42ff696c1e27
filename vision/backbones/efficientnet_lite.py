"""EfficientNet-Lite0."""

from typing import Any, NamedTuple

import keras

from vision.backbones.blocks import ConvNorm


class Stage(NamedTuple):
    """A row of table 1 of the paper.

    Attributes:
        kernel_size: side of the depthwise kernels.
        depth: number of blocks.
        width: number of output channels.
        expansion: how many times wider a block is inside.
        strides: step of the first block.
    """

    kernel_size: int
    depth: int
    width: int
    expansion: int
    strides: int


STAGES = (
    Stage(3, 1, 16, 1, 1),
    Stage(3, 2, 24, 6, 2),
    Stage(5, 2, 40, 6, 2),
    Stage(3, 3, 80, 6, 2),
    Stage(5, 3, 112, 6, 1),
    Stage(5, 4, 192, 6, 2),
    Stage(3, 1, 320, 6, 1),
)
STEM_WIDTH = 32
HEAD_WIDTH = 1280


def EfficientNetLite0(
    dtype: Any = None, name: str = "efficientnet_lite0"
) -> keras.Model:
    """Makes an EfficientNet-Lite0, with random weights.

    Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional
    neural networks", table 1 (the B0), with the changes of the Lite models
    that Google published in 2020: no squeeze-and-excitation, and ReLU6 in
    place of swish. The trained weights are
    `vision.Classifier.from_preset("efficientnet_lite0_imagenet")`.

    Args:
        dtype: dtype or policy of the layers.
        name: name of the model.

    Returns:
        Model from colour images `(batch, height, width, 3)` with values from
        0 to 255 to features `(batch, ceil(height / 32), ceil(width / 32),
        1280)`.

    Example:
        >>> import numpy as np
        >>> from vision.backbones import EfficientNetLite0
        >>> EfficientNetLite0()(np.zeros((1, 64, 64, 3))).shape
        (1, 2, 2, 1280)
    """
    conv_norm = ConvNorm(
        epsilon=1e-3, momentum=0.99, activation="relu6", dtype=dtype
    )
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(
        1 / 128, -127 / 128, dtype=dtype, name="rescale"
    )(images)
    x = conv_norm(x, STEM_WIDTH, 3, 2, name="stem")
    for number, stage in enumerate(STAGES, 1):
        for block in range(1, stage.depth + 1):
            first = block == 1
            x = _block(x, stage, first, conv_norm, f"stage{number}_{block}")
    x = conv_norm(x, HEAD_WIDTH, 1, name="head")
    return keras.Model(images, x, name=name)


def _block(
    x: Any, stage: Stage, first: bool, conv_norm: ConvNorm, name: str
) -> Any:
    """Adds an inverted residual block (MBConv of the paper)."""
    shortcut = x
    if stage.expansion > 1:
        width = x.shape[-1] * stage.expansion
        x = conv_norm(x, width, 1, name=f"{name}_expand")
    strides = stage.strides if first else 1
    x = conv_norm(x, None, stage.kernel_size, strides, name=f"{name}_filter")
    x = conv_norm(x, stage.width, 1, activate=False, name=f"{name}_project")
    if first:
        return x
    return keras.layers.Add(dtype=conv_norm.dtype, name=f"{name}_add")(
        [x, shortcut]
    )
