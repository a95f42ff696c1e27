"""RandAugment, CutMix and MixUp against other libraries, in one run.

64 images of 128x128 pixels, two operations each. Run it once per backend:
`KERAS_BACKEND=jax python -m benchmarks.augment_speed`. Contenders take turns;
each row is the median of the rounds, and of the ratios round by round.
torchvision takes part where it is installed, on one image at a time, which
is how it gives each image operations of its own.
"""

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks import augment
from benchmarks.augment import Batch, KerasCVContender, LayerContender
from keras_multi import backend, layers

BATCH, SIDE, ROUNDS = 64, 128, 7


def torchvision(interpolation: str, images: np.ndarray) -> Callable[[], Any]:
    """RandAugment of torchvision on each image of a batch."""
    v2 = importlib.import_module("torchvision.transforms.v2")
    mode = getattr(v2.InterpolationMode, interpolation.upper())
    transform = v2.RandAugment(2, 15, interpolation=mode)
    tensors = [v2.functional.to_image(image) for image in images]
    return lambda: [transform(image) for image in tensors]


def contender(
    ours: list[keras.layers.Layer], data: list[Batch], mode: str
) -> Callable[[], Any]:
    """A step of layers that are compiled in a mode."""
    return _stepper(LayerContender(ours, data, mode), data)


def _stepper(made: LayerContender, data: list[Batch]) -> Callable[[], Any]:
    given = [
        {key: ops.convert_to_tensor(value) for key, value in batch.items()}
        for batch in data
    ]
    return lambda: backend.synchronize(made.step(given[0]))


def race(title: str, steps: dict[str, Callable[[], Any]]) -> None:
    """Times steps in turns and prints a table."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for name, step in steps.items():
        print(f"warming up {title}, {name}", file=sys.stderr)
        step(), step()
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    ours = times[next(iter(steps))]
    for name, theirs in times.items():
        rate = BATCH / statistics.median(theirs)
        ratio = statistics.median(
            t / o for t, o in zip(theirs, ours, strict=True)
        )
        print(f"{title:28} {name:24} {rate:8.0f} images/s {ratio:8.2f}")


def main() -> None:
    """Runs all races on the backend of this process."""
    data = augment.batches(BATCH, SIDE)
    images = [{"images": batch["images"]} for batch in data]
    modes = backend.modes()
    theirs = augment.compiled_mode(modes[0])
    for interpolation in ("nearest", "bilinear"):
        steps = {}
        for mode in sorted(modes, key=lambda mode: mode != theirs):
            layer = layers.RandAugment(
                magnitude=5, interpolation=interpolation, seed=1
            )
            steps[f"keras-multi {mode}"] = contender([layer], images, mode)
        keras_layer = keras.layers.RandAugment(
            interpolation=interpolation, seed=1
        )
        steps["keras"] = contender([keras_layer], images, theirs)
        if importlib.util.find_spec("torchvision"):
            steps["torchvision"] = torchvision(
                interpolation, images[0]["images"]
            )
        race(f"RandAugment {interpolation}", steps)
    for name in ("CutMix", "MixUp"):
        made = getattr(layers, name)(seed=1)
        other = getattr(keras.layers, name)(seed=1)
        for dtype in ("uint8", "float32"):
            typed = [{**b, "images": b["images"].astype(dtype)} for b in data]
            steps = {
                f"keras-multi {theirs}": contender([made], typed, theirs),
                "keras": contender([other], typed, theirs),
            }
            if augment.has_keras_cv():
                keras_cv = importlib.import_module("keras_cv")
                layer = getattr(keras_cv.layers, name)(seed=1)
                steps["keras-cv"] = _stepper(
                    KerasCVContender([layer], typed, theirs), typed
                )
            race(f"{name} {dtype}", steps)


if __name__ == "__main__":
    main()
