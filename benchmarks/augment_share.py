"""What augmentation adds to a training step of a ResNet-18.

32 images of 128x128 pixels; the same step with and without augmentation, in
turns, in one process. Run it once per backend:
`KERAS_BACKEND=jax python -m benchmarks.augment_share`.
"""

import statistics
import sys
import time

import keras
import numpy as np
from scipy import stats

from benchmarks import augment
from keras_multi import backend
from vision.augment import pipeline
from vision.augmented import Augmented
from vision.backbones import ResNet
from vision.classifier import Classifier

BATCH, SIDE, ROUNDS = 32, 128, 9
CLASSES = 1000
KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "RandAugment": ("rand-m9-n2",),
    "CutMix": ("cutmix",),
    "crop, flip, RandAugment, MixUp, CutMix": (
        *("crop", "flip", "rand-m9-n2", "mixup", "cutmix"),
    ),
}


def trainer(names: tuple[str, ...]) -> Augmented:
    """A ResNet-18 with its augmentation, ready to train."""
    backbone = ResNet((2, 2, 2, 2), (64, 128, 256, 512), large_images=True)
    model = Augmented(
        Classifier(backbone, CLASSES),
        pipeline(names, SIDE, CLASSES, seed=1),
        CLASSES,
    )
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    return model


def main() -> None:
    """Times the steps of the backend of this process and prints a table."""
    images = augment.batches(BATCH, SIDE)[0]["images"]
    batch = {"images": images, "labels": np.arange(BATCH) % CLASSES}
    models = {kind: trainer(names) for kind, names in KINDS.items()}
    for kind, model in models.items():
        print(f"warming up: {kind}", file=sys.stderr)
        for _ in range(2):
            model.train_on_batch(batch)
    times: dict[str, list[float]] = {kind: [] for kind in models}
    for _ in range(ROUNDS):
        for kind, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(batch)
            times[kind].append(time.perf_counter() - start)
    for kind, measured in times.items():
        median = 1000 * statistics.median(measured)
        line = f"{backend.name():10} {kind:40} {median:7.0f} ms a step"
        if kind != "none":
            added = [
                100 * (ours / bare - 1)
                for ours, bare in zip(measured, times["none"], strict=True)
            ]
            low, high = stats.bootstrap(
                (added,), np.median, method="percentile", rng=0
            ).confidence_interval
            line += f", {np.median(added):+.1f} % [{low:+.1f}, {high:+.1f}]"
        print(line)


if __name__ == "__main__":
    main()
