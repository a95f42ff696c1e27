"""What a source of pretrained networks gives."""

from typing import NamedTuple

import keras
import numpy as np


class Pretrained(NamedTuple):
    """A backbone, and the head that was trained with it.

    Attributes:
        backbone: model from images with values from 0 to 255 to a feature
            map `(batch, h, w, features)`.
        image_size: height and width of the images that it was made for.
        head: kernel `(features, classes)` and bias `(classes,)` of the dense
            layer after global average pooling; `None` without weights.
        class_names: names of the classes, where they are known.
    """

    backbone: keras.Model
    image_size: int
    head: tuple[np.ndarray, ...] | None = None
    class_names: tuple[str, ...] | None = None
