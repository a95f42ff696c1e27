"""Augmentation by name: the layers of a recipe, in the order that is right."""

from collections.abc import Callable, Sequence

from keras_multi.errors import UsageError
from keras_multi.layers import (
    CutMix,
    CutMixOrMixUp,
    MixUp,
    Pipeline,
    RandAugment,
    RandomErasing,
    RandomFlip,
    RandomResizedCrop,
)
from keras_multi.layers.augmentation.base import BatchLayer
from vision.recipe import AUGMENTATIONS, kind_of

CROP_SCALE = (0.35, 1.0)


def pipeline(
    names: Sequence[str], size: int, num_classes: int, seed: int | None = None
) -> Pipeline:
    """Makes the augmentation of square color images in bytes.

    Each image is changed in its own way. The layers stand in the order of
    `vision.recipe.AUGMENTATIONS`, whatever the order of the names: mixing
    comes last. Where both MixUp and CutMix are named, an image undergoes one
    of them, with equal probability.

    Args:
        names: any of `AUGMENTATIONS`, or options of RandAugment as timm
            writes them, such as `"rand-m9-n2-mstd0.5"`.
        size: height and width of the images.
        num_classes: number of classes.
        seed: seed of all layers; `None` draws one.

    Returns:
        Layer on a dictionary of `"images"`, uint8 `(batch, size, size, 3)`,
        and `"labels"`, int `(batch,)` or float `(batch, num_classes)`.

    Raises:
        UsageError: if a name is unknown or given twice.

    Example:
        >>> layers = pipeline(["cutmix", "flip"], size=32, num_classes=5).layers
        >>> [type(layer).__name__ for layer in layers]
        ['RandomFlip', 'CutMix']
    """
    named = {kind_of(name): name for name in names}
    makers: dict[str, Callable[[], BatchLayer]] = {
        "crop": lambda: RandomResizedCrop(size, size, scale=CROP_SCALE),
        "flip": RandomFlip,
        "randaugment": lambda: _rand_augment(named["randaugment"]),
        "erasing": RandomErasing,
        "mixup": lambda: MixUp(num_classes=num_classes),
        "cutmix": lambda: CutMix(num_classes=num_classes),
    }
    if {"mixup", "cutmix"} <= set(named):
        del named["mixup"]
        makers["cutmix"] = lambda: CutMixOrMixUp(num_classes=num_classes)
    layers = [makers[kind]() for kind in AUGMENTATIONS if kind in named]
    return Pipeline(layers, seed=seed)


def _rand_augment(name: str) -> RandAugment:
    if name == "randaugment":
        return RandAugment()
    try:
        return RandAugment.from_string(name)
    except ValueError as error:
        raise UsageError(str(error)) from error
