"""The networks of `keras.applications` as backbones."""

import inspect
import sys
from typing import Any

import keras

from keras_multi.errors import DataError, UsageError
from vision import imagenet
from vision.pretrained import Pretrained


def names() -> tuple[str, ...]:
    """Gives the names of the networks, such as `"MobileNetV2"`."""
    return tuple(
        name
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value)
    )


def load(name: str, load_weights: bool, dtype: Any) -> Pretrained:
    """Makes a network, which ends before its global average pooling.

    Its own preprocessing comes first, so that it takes values from 0 to 255.

    Args:
        name: one of `names()`.
        load_weights: whether to load the weights trained on ImageNet.
        dtype: dtype or policy of the layers.

    Returns:
        The network.

    Raises:
        UsageError: if it does not end in a pooling and a dense layer.
        DataError: if the weights cannot be fetched.
    """
    model = _make(name, load_weights, dtype)
    *_, pool, head = (
        layer
        for layer in model.layers
        if not isinstance(layer, keras.layers.Dropout)
    )
    if not isinstance(pool, keras.layers.GlobalAveragePooling2D):
        raise UsageError(
            f"{name} does not end in a global average pooling and a dense "
            "layer; choose another network"
        )
    module = sys.modules[getattr(keras.applications, name).__module__]
    images = keras.Input(model.input_shape[1:], name="images")
    features = keras.Model(model.input, pool.input, name="features")
    outputs = features(module.preprocess_input(images))
    backbone = keras.Model(images, outputs, name=name.lower())
    size = model.input_shape[1]
    if not load_weights:
        return Pretrained(backbone, size)
    return Pretrained(
        backbone, size, tuple(head.get_weights()), imagenet.class_names()
    )


def _make(name: str, load_weights: bool, dtype: Any) -> keras.Model:
    policy = keras.config.dtype_policy()
    try:
        if dtype is not None:
            # These functions take no dtype.
            keras.config.set_dtype_policy(dtype)
        return getattr(keras.applications, name)(
            weights="imagenet" if load_weights else None,
            classifier_activation=None,
        )
    except Exception as error:  # Keras raises no narrower class.
        raise DataError(f"cannot load {name}: {error}") from error
    finally:
        keras.config.set_dtype_policy(policy)
