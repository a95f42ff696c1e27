"""Image augmentation: on every backend, each image in its own way."""

from keras_multi.layers.augmentation.color_jitter import ColorJitter
from keras_multi.layers.augmentation.cut_mix import CutMix
from keras_multi.layers.augmentation.cut_mix_or_mix_up import CutMixOrMixUp
from keras_multi.layers.augmentation.mix_up import MixUp
from keras_multi.layers.augmentation.normalize import Normalize
from keras_multi.layers.augmentation.pipeline import Pipeline
from keras_multi.layers.augmentation.rand_augment import RandAugment
from keras_multi.layers.augmentation.random_erasing import RandomErasing
from keras_multi.layers.augmentation.random_flip import RandomFlip
from keras_multi.layers.augmentation.random_resized_crop import (
    RandomResizedCrop,
)
from keras_multi.layers.augmentation.trivial_augment import TrivialAugment

__all__ = [
    "ColorJitter",
    "CutMix",
    "CutMixOrMixUp",
    "MixUp",
    "Normalize",
    "Pipeline",
    "RandAugment",
    "RandomErasing",
    "RandomFlip",
    "RandomResizedCrop",
    "TrivialAugment",
]
