"""Gives backbones the weights that were trained with PyTorch."""

from collections.abc import Iterator, Mapping

import keras
import numpy as np

from keras_multi.errors import DataError
from vision.backbones.efficientnet_lite import STAGES


def assign_efficientnet_lite(
    backbone: keras.Model, tensors: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Gives an `EfficientNetLite0` the tensors of `efficientnet-lite-pytorch`.

    Args:
        backbone: the model, which is changed.
        tensors: name to array.

    Returns:
        Kernel `(1280, classes)` and bias `(classes,)` of the head.

    Raises:
        DataError: if a tensor is missing or of another shape.
    """
    try:
        for name, conv, norm in _names():
            layer = backbone.get_layer(f"{name}_conv")
            kernel = tensors[f"{conv}.weight"]
            # PyTorch keeps kernels as (out, in, height, width), and those of
            # depthwise convolutions as (channel, 1, height, width).
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            layer.set_weights([kernel.transpose(axes)])
            backbone.get_layer(f"{name}_norm").set_weights(
                [
                    tensors[f"{norm}.{part}"]
                    for part in (
                        "weight",
                        "bias",
                        "running_mean",
                        "running_var",
                    )
                ]
            )
        return tensors["_fc.weight"].T, tensors["_fc.bias"]
    except KeyError as error:
        raise DataError(f"the weights lack {error}") from error
    except ValueError as error:
        raise DataError(f"the weights do not fit: {error}") from error


def _names() -> Iterator[tuple[str, str, str]]:
    """Names of layers here, and of the convolution and its norm there."""
    yield "stem", "_conv_stem", "_bn0"
    number = 0
    for i, stage in enumerate(STAGES, 1):
        for block in range(1, stage.depth + 1):
            here, there = f"stage{i}_{block}", f"_blocks.{number}"
            if stage.expansion > 1:
                yield f"{here}_expand", f"{there}._expand_conv", f"{there}._bn0"
            yield f"{here}_filter", f"{there}._depthwise_conv", f"{there}._bn1"
            yield f"{here}_project", f"{there}._project_conv", f"{there}._bn2"
            number += 1
    yield "head", "_conv_head", "_bn1"
