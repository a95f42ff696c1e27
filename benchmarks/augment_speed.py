"""RandAugment, CutMix and MixUp against other libraries, in one run.

64 images of 128x128 pixels, two operations each. Run it once per backend:
`KERAS_BACKEND=jax python -m benchmarks.augment_speed`. Contenders take turns,
in an order drawn for each round, since the threads of one may go on waiting
for work while the next one runs. Each row is the median of the rounds, and the
medians of the ratios, round by round, of its time to ours. torchvision takes
part where it is installed, on TensorFlow where it was loaded first: `python -c
"import torchvision, runpy; runpy.run_module('benchmarks.augment_speed',
run_name='__main__')"`.
"""

import importlib
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from benchmarks import augment, torchvision_peer
from benchmarks.augment import Batch, KerasCVContender, LayerContender
from benchmarks.torchvision_peer import TorchvisionContender, Transform
from keras_multi import backend, layers

BATCH, SIDE = 64, 128
ROUNDS, MIXING_ROUNDS = 15, 101  # a step of mixing takes a millisecond
OURS = "keras-multi"


def ours(
    make: Callable[[], keras.layers.Layer], data: list[Batch]
) -> dict[str, Callable[[], Any]]:
    """A step of a layer of this project in each mode of the backend.

    The first mode is that in which Keras's layers run. `torch.compile` is
    left out: it takes minutes.
    """
    modes = [mode for mode in backend.modes() if mode != "compile"]
    modes.sort(key=lambda mode: mode != augment.compiled_mode(mode))
    return {
        f"{OURS} {mode}": _stepper(LayerContender([make()], data, mode), data)
        for mode in modes
    }


def keras_peer(
    layer: keras.layers.Layer, data: list[Batch]
) -> Callable[[], Any]:
    """A step of a layer of Keras."""
    mode = augment.compiled_mode(backend.modes()[0])
    return _stepper(LayerContender([layer], data, mode), data)


def _stepper(made: LayerContender, data: list[Batch]) -> Callable[[], Any]:
    given = [
        {key: ops.convert_to_tensor(value) for key, value in batch.items()}
        for batch in data
    ]
    return lambda: backend.synchronize(made.step(given[0]))


def torchvision(transform: Transform, data: list[Batch]) -> Callable[[], Any]:
    """A step of torchvision's transform."""
    made = TorchvisionContender([transform], data)
    return lambda: made.run(1)


def race(title: str, steps: dict[str, Callable[[], Any]], rounds: int) -> None:
    """Times steps in turns and prints a table."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for name, step in steps.items():
        print(f"warming up {title}, {name}", file=sys.stderr)
        step(), step()
    names, order = list(steps), random.Random(0)
    for _ in range(rounds):
        for name in order.sample(names, len(names)):
            start = time.perf_counter()
            steps[name]()
            times[name].append(time.perf_counter() - start)
    own = [name for name in steps if name.startswith(OURS)]
    for name, theirs in times.items():
        rate = BATCH / statistics.median(theirs)
        line = f"{title:21} {name:20} {rate:7.0f} images/s"
        for mine in own if name not in own else ():
            ratios = [t / o for t, o in zip(theirs, times[mine], strict=True)]
            line += f", {mine} {statistics.median(ratios):.2f} times"
        print(line, flush=True)


def main() -> None:
    """Runs all races on the backend of this process."""
    if not torchvision_peer.is_there():
        print("torchvision does not take part: it is not there")
    data = augment.batches(BATCH, SIDE)
    images = [{"images": batch["images"]} for batch in data]
    for interpolation in ("nearest", "bilinear"):
        steps = ours(
            partial(
                layers.RandAugment,
                magnitude=5,
                interpolation=interpolation,
                seed=1,
            ),
            images,
        )
        layer = keras.layers.RandAugment(interpolation=interpolation, seed=1)
        steps["keras"] = keras_peer(layer, images)
        if torchvision_peer.is_there():
            steps["torchvision"] = torchvision(
                torchvision_peer.rand_augment(interpolation), images
            )
        race(f"RandAugment {interpolation}", steps, ROUNDS)
    for name in ("CutMix", "MixUp"):
        for dtype in ("uint8", "float32"):
            typed = [{**b, "images": b["images"].astype(dtype)} for b in data]
            steps = ours(partial(getattr(layers, name), seed=1), typed)
            layer = getattr(keras.layers, name)(seed=1)
            steps["keras"] = keras_peer(layer, typed)
            if augment.has_keras_cv():
                keras_cv = importlib.import_module("keras_cv")
                layer = getattr(keras_cv.layers, name)(seed=1)
                mode = augment.compiled_mode(backend.modes()[0])
                steps["keras-cv"] = _stepper(
                    KerasCVContender([layer], typed, mode), typed
                )
            if torchvision_peer.is_there():
                steps["torchvision"] = torchvision(
                    torchvision_peer.mixing(name), typed
                )
            race(f"{name} {dtype}", steps, MIXING_ROUNDS)


if __name__ == "__main__":
    main()
