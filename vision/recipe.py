"""The recipe of a training run: what people tune, with its defaults."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_multi.backend import AUTO, PRECISIONS
from keras_multi.errors import UsageError
from keras_multi.fields import checked, choose, require

OPTIMIZERS = ("sgd", "adamw")
# In the order in which they are carried out.
AUGMENTATIONS = ("crop", "flip", "randaugment", "erasing", "mixup", "cutmix")


@dataclass(frozen=True)
class Recipe:
    """Everything a training run depends on, but for the backend.

    Make it with `Recipe.of`, which knows the defaults of each data set.

    Attributes:
        data: name of a data set, or a folder with one folder of images for
            each class.
        skip_damaged: whether to leave out files of such a folder that are no
            images, and say so, or to refuse them.
        model: `"resnet"`, or the name of a preset.
        pretrained: whether to start from the trained weights of the preset.
        frozen_epochs: epochs at the start in which only the head of a
            pretrained model learns.
        first_layer_rate: learning rate of the first layer of a pretrained
            backbone over that of the head.
        depths: number of blocks of each stage of the `"resnet"`.
        widths: number of channels of each of these stages.
        image_size: height and width of the images in pixels.
        augment: names of augmentations, see `vision.augment.pipeline`.
        epochs: passes over the training images, frozen ones included.
        batch_size: images per step.
        optimizer: `"sgd"` with Nesterov momentum, or `"adamw"`.
        learning_rate: highest step size.
        momentum: of `"sgd"`.
        weight_decay: share of the learning rate by which weights shrink in a
            step (Loshchilov and Hutter 2019); biases and norms do not.
        warmup_epochs: epochs in which the rate rises from 0; then it falls
            along a cosine to 0.
        dropout: share of the pooled features set to zero in training.
        label_smoothing: share of a label that is spread over all classes.
        ema: share that the moving average of the weights keeps in a step;
            the model ends with the average. 0 takes none.
        accumulation: steps whose gradients are averaged before one update.
        patience: epochs without better accuracy on training images kept apart
            after which to stop; `None` trains all epochs on all of them.
        precision: Keras dtype policy, or `"auto"` for the faster of float32
            and mixed_bfloat16: see `keras_multi.choose_precision`.
        seed: seed of the weights, the augmentation and the order of images.
    """

    data: str
    skip_damaged: bool
    model: str
    pretrained: bool
    frozen_epochs: int
    first_layer_rate: float
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    image_size: int
    augment: tuple[str, ...]
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    momentum: float
    weight_decay: float
    warmup_epochs: int
    dropout: float
    label_smoothing: float
    ema: float
    accumulation: int
    patience: int | None
    precision: str
    seed: int

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, OPTIMIZERS)
        choose("precision", self.precision, (*PRECISIONS, AUTO))
        check_augmentations(self.augment)
        for name in ("epochs", "batch_size", "image_size", "accumulation"):
            require(self, name, getattr(self, name) >= 1, "be at least 1")
        for name in ("weight_decay", "warmup_epochs", "seed", "frozen_epochs"):
            require(self, name, getattr(self, name) >= 0, "not be negative")
        for name in ("momentum", "dropout", "label_smoothing", "ema"):
            good = 0 <= getattr(self, name) < 1
            require(self, name, good, "lie in [0, 1)")
        good = self.learning_rate > 0
        require(self, "learning_rate", good, "be more than 0")
        good = 0 < self.first_layer_rate <= 1
        require(self, "first_layer_rate", good, "lie in (0, 1]")
        for name in ("depths", "widths"):
            good = min(getattr(self, name), default=0) >= 1
            require(self, name, good, "hold positive integers")
        good = len(self.depths) == len(self.widths)
        require(self, "widths", good, f"be as many as depths={self.depths}")
        good = self.patience is None or self.patience >= 1
        require(self, "patience", good, "be at least 1")
        require(self, "seed", self.seed < 2**32, "be less than 2**32")
        good = self.warmup_epochs + self.frozen_epochs < self.epochs
        require(self, "warmup_epochs", good, "leave epochs to train")
        good = self.ema == 0 or self.patience is None
        require(self, "patience", good, "not be given together with ema")
        good = self.ema == 0 or self.first_layer_rate == 1
        require(self, "first_layer_rate", good, "be 1 together with ema")
        good = not self.pretrained or self.model != "resnet"
        require(self, "pretrained", good, "not be true without a preset")

    @classmethod
    def of(cls, data: str, **changes: Any) -> "Recipe":
        """Takes the defaults of a data set and model, with some changes.

        Args:
            data: name of the data set, or a folder.
            **changes: other fields, by name.

        Returns:
            The recipe.

        Raises:
            UsageError: if a name is unknown or a value has the wrong type or
                is out of range.

        Example:
            >>> Recipe.of("mnist-5k", epochs=3).epochs
            3
        """
        chosen = DEFAULTS.get(data, FOLDER)
        scratch = changes.get("model", chosen["model"]) == SCRATCH["model"]
        fields = {**COMMON, **(SCRATCH if scratch else FINE_TUNING)}
        if scratch == (chosen["model"] == SCRATCH["model"]):
            fields |= chosen
        fields["image_size"] = chosen["image_size"]
        if not changes.get("pretrained", fields["pretrained"]):
            fields |= {"frozen_epochs": 0, "first_layer_rate": 1.0}
        return cls(**checked(cls, {**fields, "data": data, **changes}))


def kind_of(augmentation: str) -> str:
    """The augmentation that a name or its options stand for.

    Raises:
        UsageError: if it is none.

    Example:
        >>> kind_of("rand-m9-n2")
        'randaugment'
    """
    if augmentation.startswith("rand-"):
        return "randaugment"
    if augmentation not in AUGMENTATIONS:
        raise UsageError(
            f"unknown augmentation {augmentation!r}; choose from "
            f"{', '.join(AUGMENTATIONS)}, or options such as rand-m9-n2-mstd0.5"
        )
    return augmentation


def check_augmentations(names: Sequence[str]) -> None:
    """Raises a UsageError if a name is unknown, or an augmentation double."""
    kinds = [kind_of(name) for name in names]
    if len(set(kinds)) < len(kinds):
        raise UsageError(
            "each augmentation can be given once only. "
            f"Received: {', '.join(names)}"
        )


# What holds for all data sets and models.
COMMON: dict[str, Any] = {
    "skip_damaged": False,
    "depths": (1, 1, 1),
    "widths": (32, 64, 128),
    "momentum": 0.9,
    "dropout": 0.2,
    "label_smoothing": 0.1,
    "ema": 0.0,
    "accumulation": 1,
    "patience": None,
    "precision": "float32",
    "seed": 42,
}
SCRATCH: dict[str, Any] = {
    "model": "resnet",
    "pretrained": False,
    "frozen_epochs": 0,
    "first_layer_rate": 1.0,
    "augment": ("crop", "flip", "randaugment", "cutmix"),
    "epochs": 50,
    "batch_size": 125,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "warmup_epochs": 2,
}
FINE_TUNING: dict[str, Any] = {
    "model": "efficientnet_lite0_imagenet",
    "pretrained": True,
    "frozen_epochs": 2,
    "first_layer_rate": 0.1,
    "augment": ("crop", "flip"),
    "epochs": 12,
    "batch_size": 32,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.02,
    "warmup_epochs": 1,
}
# The model of each data set, and what differs from the above.
DEFAULTS: dict[str, dict[str, Any]] = {
    "mnist-5k": {
        "model": SCRATCH["model"],
        "image_size": 28,
        "widths": (16, 32, 64),
        "augment": ("rand-m9-n2",),
        "epochs": 60,
        "batch_size": 50,
        "optimizer": "adamw",
        "learning_rate": 0.004,
        "weight_decay": 0.02,
        "dropout": 0.1,
    },
    "cifar10": {"model": SCRATCH["model"], "image_size": 32},
    "emoji": {"model": FINE_TUNING["model"], "image_size": 96},
}
FOLDER: dict[str, Any] = {"model": FINE_TUNING["model"], "image_size": 224}
