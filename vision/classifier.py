"""One model for the three problems of image classification."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import keras

from keras_multi.errors import DataError, UsageError
from vision import presets


@keras.saving.register_keras_serializable("vision")
class Classifier(keras.Model):
    """A backbone, global average pooling and a dense layer.

    Recognize what a trained network knows, with the names of its classes:

        model = Classifier.from_preset("efficientnet_lite0_imagenet")

    Tune a trained network to other classes, first the new head on a frozen
    backbone, then all of it:

        model = Classifier.from_preset(name, num_classes=5)
        model.compile(...); model.fit(...)
        model.unfreeze()
        optimizer = vision.optimizers.AdamW(
            1e-4, layer_rates=model.layer_rates(first=0.1)
        )
        model.compile(optimizer, ...); model.fit(...)

    Train from scratch:

        model = Classifier(ResNet((1, 1, 1), (32, 64, 128)), num_classes=10)

    Saved as `.keras` on one backend, it loads on every other.

    Args:
        backbone: model from images to a feature map `(batch, h, w,
            features)`; see `vision.backbones`.
        num_classes: number of classes, at least 2.
        class_names: name of each class, in order.
        image_size: height and width that images are scaled to by the
            commands; by default what the backbone has fixed, or else 224.
        dropout: share of the pooled features set to zero in training.
        frozen_layers: names of layers of the backbone that do not train.
        **kwargs: arguments of `keras.Model`.

    Call arguments:
        inputs: images `(batch, height, width, channels)` with values from 0
            to 255.
        training: whether dropout and batch normalization are active.

    Returns:
        Logits, float32 `(batch, num_classes)`.

    Raises:
        ValueError: if the backbone gives no feature map, or an argument is
            out of range.

    Example:
        >>> import numpy as np
        >>> from vision import Classifier
        >>> from vision.backbones import ResNet
        >>> model = Classifier(ResNet((1, 1), (8, 16)), num_classes=3)
        >>> model(np.zeros((2, 16, 16, 3))).shape
        (2, 3)
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        class_names: Sequence[str] | None = None,
        image_size: int | None = None,
        dropout: float = 0.2,
        frozen_layers: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        if len(getattr(backbone, "output_shape", ())) != 4:
            raise ValueError(
                "`backbone` must be a built model that gives a feature map "
                f"(batch, h, w, features). Received: backbone={backbone}"
            )
        if num_classes < 2:
            raise ValueError(
                "`num_classes` must be at least 2. "
                f"Received: num_classes={num_classes}"
            )
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(
                "`class_names` must hold a name for each class. Received: "
                f"num_classes={num_classes}, {len(class_names)} names"
            )
        if not 0 <= dropout < 1:
            raise ValueError(
                f"`dropout` must lie in [0, 1). Received: dropout={dropout}"
            )
        images = keras.Input(backbone.input_shape[1:], name="images")
        x = backbone(images)  # (B, h, w, F)
        x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)
        x = keras.layers.Dropout(dropout, dtype="float32", name="dropout")(x)
        head = keras.layers.Dense(num_classes, dtype="float32", name="logits")
        super().__init__(images, head(x), **kwargs)
        self.backbone = backbone
        self.head = head
        self.num_classes = num_classes
        self.class_names = None if class_names is None else tuple(class_names)
        self.image_size = image_size or backbone.input_shape[1] or 224
        self.dropout = dropout
        for layer in _leaves(backbone):
            if layer.name in frozen_layers:
                layer.trainable = False

    @classmethod
    def from_preset(
        cls,
        name: str,
        num_classes: int | None = None,
        *,
        class_names: Sequence[str] | None = None,
        dropout: float = 0.2,
        load_weights: bool = True,
        dtype: Any = None,
    ) -> Self:
        """Makes a classifier of a network that is already trained.

        Args:
            name: `"efficientnet_lite0_imagenet"`; a network of
                `keras.applications` such as `"MobileNetV2"`; a preset of
                KerasHub such as `"resnet_18_imagenet"`; or a classifier that
                was saved: a `.keras` file or the folder of a training run.
            num_classes: number of classes to tune to. The head is new, and
                the backbone is frozen until `unfreeze`: it does not train,
                and its batch normalization keeps the statistics it has. By
                default the classifier is that which was trained.
            class_names: names of the classes to tune to.
            dropout: share of the pooled features set to zero in training.
            load_weights: `False` gives the same network with random weights,
                to compare with; nothing of it is frozen then.
            dtype: dtype or policy of the backbone.

        Returns:
            The classifier.

        Raises:
            UsageError: if there is no such preset, a package is missing, or
                `num_classes` is missing where it is needed.
            DataError: if files cannot be fetched or are damaged.

        Example:
            >>> model = Classifier.from_preset("efficientnet_lite0_imagenet")
            >>> model.class_names[1]
            'goldfish'
        """
        if presets.is_saved_model(name):
            trained = cls._load(name)
            if num_classes is None and load_weights:
                return trained
            if not load_weights or dtype is not None:
                raise UsageError(
                    f"{name} is a saved model, which comes with its weights "
                    "and its dtype; leave load_weights and dtype out"
                )
            source = presets.Pretrained(trained.backbone, trained.image_size)
        else:
            source = presets.load(name, load_weights, dtype)
        if num_classes is not None:
            model = cls(
                source.backbone,
                num_classes,
                class_names,
                source.image_size,
                dropout,
            )
            model.backbone.trainable = not load_weights
            return model
        if source.head is None:
            raise UsageError(
                "without its weights a preset needs a number of classes. "
                "Received: num_classes=None"
            )
        kernel, bias = source.head
        model = cls(
            source.backbone,
            len(bias),
            source.class_names,
            source.image_size,
            dropout,
        )
        model.head.set_weights([kernel, bias])
        return model

    @classmethod
    def _load(cls, name: str) -> Self:
        path = presets.saved_model(name)
        try:
            model = keras.saving.load_model(path)
        except Exception as error:  # Keras raises errors of any class.
            raise DataError(f"cannot load {path}: {error}") from error
        if not isinstance(model, cls):
            raise UsageError(
                f"{path} holds a {type(model).__name__} and no Classifier"
            )
        return model

    def unfreeze(
        self, last: int | None = None, batch_norm: bool = False
    ) -> None:
        """Lets the backbone train. Compile the model again afterwards.

        Args:
            last: number of its last layers that train; by default all.
            batch_norm: whether batch normalization trains too and takes its
                statistics from the batch. By default it stays as it was
                trained, which is better for small batches and few images.

        Raises:
            ValueError: if `last` is negative.
        """
        if last is not None and last < 0:
            raise ValueError(
                f"`last` must not be negative. Received: last={last}"
            )
        self.backbone.trainable = True
        layers = list(_leaves(self.backbone))
        first = 0 if last is None else max(len(layers) - last, 0)
        for i, layer in enumerate(layers):
            norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = i >= first and (batch_norm or not norm)

    def layer_rates(self, first: float = 0.1) -> dict[str, float]:
        """Gives each variable of the backbone its share of the learning rate.

        It rises by a constant factor from layer to layer, and is 1 in the
        head.

        Args:
            first: share of the first layer that trains, in (0, 1].

        Returns:
            Path to factor, for an optimizer of `vision.optimizers`.

        Raises:
            ValueError: if `first` does not lie in (0, 1].
        """
        if not 0 < first <= 1:
            raise ValueError(
                f"`first` must lie in (0, 1]. Received: first={first}"
            )
        variables = self.backbone.trainable_variables
        layers = list(dict.fromkeys(map(_layer_path, variables)))
        return {
            v.path: first ** (1 - layers.index(_layer_path(v)) / len(layers))
            for v in variables
        }

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {
            "name": self.name,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "class_names": self.class_names,
            "image_size": self.image_size,
            "dropout": self.dropout,
            "frozen_layers": [
                layer.name
                for layer in _leaves(self.backbone)
                if layer.weights and not layer.trainable
            ],
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> Self:
        """Makes a classifier of what `get_config` gave."""
        backbone = keras.saving.deserialize_keras_object(
            config["backbone"], custom_objects=custom_objects
        )
        return cls(**{**config, "backbone": backbone})


def _leaves(model: keras.Model) -> Iterator[keras.Layer]:
    """Gives the layers of a model and of the models in it, in order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _layer_path(variable: keras.Variable) -> str:
    return str(variable.path).rpartition("/")[0]
