"""A classifier with its augmentation, as one model to train."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation.base import BatchLayer


class Augmented(keras.Model):
    """Augments a batch, images and labels, and classifies it.

    Since augmentation mixes labels too, they are an input of the model and
    not a target beside it. The augmentation is then a part of the compiled
    training step, and its random numbers are variables of the model, which
    a checkpoint keeps: a run that goes on from one is exact.

    It exists while a model is trained; what is saved is the classifier.

    Args:
        classifier: model from images `(batch, height, width, channels)` to
            logits `(batch, num_classes)`.
        augment: layer on a dictionary of `"images"` and `"labels"`.
        num_classes: number of classes.
        **kwargs: arguments of `keras.Model`. Loss scaling follows its
            `dtype`, so give it that of the backbone.

    Call arguments:
        inputs: dictionary of `"images"`, uint8 `(batch, height, width,
            channels)`, and `"labels"`, int `(batch,)`.
        training: whether to augment.

    Returns:
        Dictionary of `"logits"` and `"targets"`, float32 `(batch,
        num_classes)`.

    Example:
        >>> import keras, numpy as np
        >>> from vision.augment import pipeline
        >>> classifier = keras.Sequential([
        ...     keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> model = Augmented(classifier, pipeline(["cutmix"], 8, 2), 2)
        >>> batch = {"images": np.zeros((4, 8, 8, 3), "uint8"),
        ...          "labels": np.array([0, 1, 1, 0])}
        >>> model(batch)["logits"].shape
        (4, 2)
    """

    def __init__(
        self,
        classifier: keras.Model,
        augment: BatchLayer,
        num_classes: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.classifier = classifier
        self.augment = augment
        self.num_classes = num_classes

    def call(
        self, inputs: dict[str, Any], training: bool = False
    ) -> dict[str, Any]:
        """Gives logits, and the targets that belong to them."""
        batch = self.augment(inputs, training=training)
        images = ops.cast(batch["images"], "float32")
        logits = self.classifier(images, training=training)
        targets = batch["labels"]
        if len(targets.shape) == 1:
            targets = ops.one_hot(targets, self.num_classes)
        return {
            "logits": ops.cast(logits, "float32"),
            "targets": ops.cast(targets, "float32"),
        }

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compares the logits with the targets of the same batch."""
        return super().compute_loss(
            x, y_pred["targets"], y_pred["logits"], sample_weight, training
        )

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """Likewise."""
        return super().compute_metrics(
            x, y_pred["targets"], y_pred["logits"], sample_weight
        )
