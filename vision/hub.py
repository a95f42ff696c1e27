"""The image classifiers of KerasHub as backbones."""

import importlib.util
from pathlib import Path
from typing import Any

import keras

from keras_multi.errors import DataError, UsageError
from vision import imagenet
from vision.pretrained import Pretrained

PREFIXES = ("hf://", "kaggle://", "modelscope://")


def knows(name: str) -> bool:
    """Tells whether a name is one for KerasHub, and whether it is installed.

    A name without a prefix is looked up in its list of presets.
    """
    if importlib.util.find_spec("keras_hub") is None:
        return False
    if name.startswith(PREFIXES) or (Path(name) / "task.json").is_file():
        return True
    import keras_hub

    return name in keras_hub.models.ImageClassifier.presets


def load(name: str, load_weights: bool, dtype: Any) -> Pretrained:
    """Loads an image classifier of KerasHub.

    Args:
        name: preset, address or folder.
        load_weights: whether to load the trained weights.
        dtype: dtype or policy of the layers.

    Returns:
        The network. Its preprocessing comes first, so that it takes values
        from 0 to 255.

    Raises:
        UsageError: if it gives no feature map or pools otherwise than by
            the average.
        DataError: if it cannot be fetched.
    """
    import keras_hub

    options = {} if dtype is None else {"dtype": dtype}
    try:
        task = keras_hub.models.ImageClassifier.from_preset(
            name, load_weights=load_weights, **options
        )
    except Exception as error:  # The library raises no narrower class.
        raise DataError(f"cannot load {name}: {error}") from error
    shape = task.backbone.output_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or task.pooling != "avg":
        raise UsageError(
            f"{name} has no feature map that is averaged; choose another preset"
        )
    converter = task.preprocessor.image_converter
    size = (converter.image_size or (224,))[0]
    images = keras.Input(task.backbone.input_shape[1:], name="images")
    x = keras.layers.Rescaling(
        1.0 if converter.scale is None else converter.scale,
        0.0 if converter.offset is None else converter.offset,
        dtype=dtype,
    )(images)
    backbone = keras.Model(images, task.backbone(x), name=task.backbone.name)
    if not load_weights:
        return Pretrained(backbone, size)
    head = tuple(task.output_dense.get_weights())
    names = imagenet.class_names() if len(head[1]) == 1000 else None
    return Pretrained(backbone, size, head, names)
