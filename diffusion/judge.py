"""A judge of color and thing, which has seen the real pictures only."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from diffusion import data, recolored
from diffusion.recolored import Recolored
from keras_multi import backend, training
from keras_multi.errors import DataError
from keras_multi.presets import read_safetensors, write_safetensors

FILE = "judge.safetensors"
SHIFTS = (0, 4, 8, 12, 16)  # of what it learns from, above and on the left
CHECKED = (2, 10)  # of what it is checked on
CHANNELS = (16, 32, 64, 64)
NOISE = 0.15  # of pixels in [-1, 1], in training
LEARNING_RATE = 1e-3


@keras.saving.register_keras_serializable("diffusion")
class Judge(keras.Model):
    """Tells the color and the thing of a picture, by convolutions.

    Call arguments:
        pictures: uint8 or float `(B, 64, 64, 3)` in [0, 255].

    Returns:
        Logits of the colors `(B, 8)` and of the things `(B, 40)`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        convolutions = [
            keras.layers.Conv2D(n, 3, 2, "same", activation="relu")
            for n in CHANNELS
        ]
        self.features = keras.Sequential(
            [
                keras.layers.Rescaling(1 / 127.5, -1),
                keras.layers.GaussianNoise(NOISE),
                *convolutions,
                keras.layers.Flatten(),
            ]
        )
        self.color = keras.layers.Dense(len(recolored.COLORS))
        self.thing = keras.layers.Dense(len(recolored.THINGS))

    def build(self, *_: Any) -> None:
        """Makes the weights, if they are not there yet."""
        if self.built:
            return
        self.features.build((None, data.SIZE, data.SIZE, 3))
        width = self.features.output_shape
        self.color.build(width)
        self.thing.build(width)

    def call(self, pictures: Any, training: bool = False) -> tuple[Any, Any]:
        """Computes the logits; see the class."""
        pictures = ops.cast(pictures, self.compute_dtype)
        features = self.features(pictures, training=training)
        return self.color(features), self.thing(features)


def train(
    pairs: Recolored, epochs: int, seed: int, progress: bool = True
) -> tuple[Judge, dict[str, float]]:
    """Trains a judge on all pairs, and checks it on renderings it has not seen.

    It learns from them in the places of `SHIFTS`, among which are those of
    `data`, and is checked on those of `CHECKED`.

    Args:
        pairs: the real pictures.
        epochs: passes over them.
        seed: of the weights, the noise and the order.
        progress: whether to show a progress bar.

    Returns:
        The judge, and its `accuracy` on what it has not seen.
    """
    backend.seed(seed)
    judge = Judge()
    judge.build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    judge.compile(keras.optimizers.Adam(LEARNING_RATE), [loss, loss])
    shown, color, thing = renderings(pairs, SHIFTS)
    training.fit(
        judge,
        (shown, (color, thing)),
        epochs=epochs,
        batch_size=64,
        seed=seed,
        progress=progress,
        description="judge",
    )
    return judge, accuracy(judge, *renderings(pairs, CHECKED))


def renderings(
    pairs: Recolored, shifts: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gives all pairs in some places with their colors and things.

    Args:
        pairs: the pictures.
        shifts: pixels that there may be above and on the left.
    """
    places = list(product(shifts, shifts))
    shown = [data.place(pairs.pictures, top, left) for top, left in places]
    color, thing = (
        np.tile(labels, len(places)).astype(np.int32)
        for labels in (pairs.colors, pairs.things)
    )
    return np.concatenate(shown), color, thing


def accuracy(
    judge: Judge, pictures: np.ndarray, colors: np.ndarray, things: np.ndarray
) -> dict[str, float]:
    """Compares what a judge tells with what there should be.

    Args:
        judge: the judge.
        pictures: uint8 `(n, 64, 64, 3)`.
        colors: int `(n,)`.
        things: int `(n,)`.

    Returns:
        Shares of the pictures whose `color`, whose `thing`, and of which
        `both` are right.
    """
    color, thing = tell(judge, pictures)
    return {
        "color": float(np.mean(color == colors)),
        "thing": float(np.mean(thing == things)),
        "both": float(np.mean((color == colors) & (thing == things))),
    }


def tell(judge: Judge, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives the most probable color and thing of pictures, int `(n,)` each."""
    color, thing = judge.predict(pictures, batch_size=64, verbose=0)
    return color.argmax(axis=-1), thing.argmax(axis=-1)


def save(judge: Judge, folder: Path) -> None:
    """Writes a judge into a folder, in half precision."""
    arrays = {
        str(i): keras.ops.convert_to_numpy(variable).astype(np.float16)
        for i, variable in enumerate(judge.trainable_variables)
    }
    write_safetensors(folder / FILE, arrays, {})


def load(folder: Path) -> Judge:
    """Reads a judge from a folder.

    Raises:
        DataError: if the file is missing, damaged or of another judge.
    """
    judge = Judge()
    judge.build()
    arrays = read_safetensors(folder / FILE)
    variables = judge.trainable_variables
    shapes = [tuple(variable.shape) for variable in variables]
    names = [str(i) for i in range(len(variables))]
    if [arrays[n].shape for n in names if n in arrays] != shapes:
        raise DataError(f"{folder / FILE} is damaged: it is no judge's")
    for name, variable in zip(names, variables, strict=True):
        variable.assign(arrays[name].astype(np.float32))
    return judge
