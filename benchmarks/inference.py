"""`optimize_for_inference` on eight models, against `predict_on_batch`.

Run it once per backend, with names of models or for all of them:
`KERAS_BACKEND=torch python -m benchmarks.inference resnet sd_unet`. Model and
optimized model take turns, from NumPy to NumPy, with random weights in
float32; each row is a median, and the ratio that of the rounds with its 95 %
interval. `sd_unet` needs keras-cv, about 10 GB and some minutes.
"""

import importlib
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from benchmarks.dcn import keras_model
from benchmarks.statistics import median_interval, ratio_interval
from benchmarks.table import interval
from benchmarks.workload import Setting
from benchmarks.workloads.dcn_train import CRITEO_LIKE
from keras_multi import backend, optimize_for_inference
from keras_multi.inference.program import difference
from keras_multi.inference.timing import turns
from nlp.gpt2 import GPT2
from vision.backbones import EfficientNetLite0

ROUNDS = range(9, 60)
SECONDS = 10.0
RNG = np.random.default_rng(0)


class Case(NamedTuple):
    """A model and a batch of its inputs."""

    model: keras.Model
    inputs: Any


def _normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype="float32")


def cnn() -> Case:
    """Three convolutions with batch normalizations, a head; 32x32 pixels."""
    stack: list[Any] = [keras.Input((32, 32, 3))]
    for width in (32, 64, 128):
        stack += [
            layers.Conv2D(width, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    stack += [layers.Flatten(), layers.Dense(10)]
    return Case(keras.Sequential(stack), _normal(32, 32, 32, 3))


def resnet() -> Case:
    """ResNet-50 of Keras; one image of 224x224 pixels."""
    model = keras.applications.ResNet50(weights=None)
    return Case(model, _normal(1, 224, 224, 3))


def efficientnet() -> Case:
    """EfficientNet-Lite0; one image of 224x224 pixels."""
    images = RNG.integers(0, 256, (1, 224, 224, 3)).astype("float32")
    return Case(EfficientNetLite0(), images)


def sd_unet() -> Case:
    """UNet of Stable Diffusion 1, of keras-cv; a picture of 128x128 pixels."""
    home = "keras_cv.src.models.stable_diffusion.diffusion_model"
    made = importlib.import_module(home)
    model = made.DiffusionModel(128, 128, 77, download_weights=False)
    latents, time_embedding, context = (1, 16, 16, 4), (1, 320), (1, 77, 768)
    shapes = latents, time_embedding, context
    return Case(model, [_normal(*shape) for shape in shapes])


def gpt2() -> Case:
    """GPT-2 of 124 million parameters; the logits of 64 tokens."""
    model = GPT2()
    model.build()
    ids = RNG.integers(0, 50257, (1, 64)).astype("int32")
    return Case(model, ids)


def dcn() -> Case:
    """The DCN of `dcn_predict`; 256 rows."""
    model = keras_model(
        CRITEO_LIKE, Setting(256, "float32", backend.modes()[0])
    )
    ids = RNG.integers(0, 10_000, (256, 26)).astype("int32")
    return Case(model, {"categorical": ids, "dense": _normal(256, 13)})


def lstm() -> Case:
    """An embedding, an LSTM and a dense layer; 32 sequences of 64 tokens."""
    stack = [
        keras.Input((64,), dtype="int32"),
        layers.Embedding(10_000, 128),
        layers.LSTM(128),
        layers.Dense(10),
    ]
    ids = RNG.integers(0, 10_000, (32, 64)).astype("int32")
    return Case(keras.Sequential(stack), ids)


def vit() -> Case:
    """Six blocks 192 wide on patches of 8x8; 8 images of 64x64 pixels."""
    images = keras.Input((64, 64, 3))
    x = layers.Conv2D(192, 8, 8)(images)
    x = layers.Reshape((64, 192))(x)
    for _ in range(6):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(3, 64)(y, y)])
        y = layers.LayerNormalization()(x)
        y = layers.Dense(768, "gelu")(y)
        x = layers.Add()([x, layers.Dense(192)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    model = keras.Model(images, layers.Dense(10)(x))
    return Case(model, _normal(8, 64, 64, 3))


CASES: dict[str, Callable[[], Case]] = {
    "cnn": cnn,
    "resnet": resnet,
    "efficientnet": efficientnet,
    "sd_unet": sd_unet,
    "gpt2": gpt2,
    "dcn": dcn,
    "lstm": lstm,
    "vit": vit,
}


def vary(model: keras.Model) -> None:
    """Gives batch normalizations moments and factors that are not 0 and 1."""
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights(
                [RNG.uniform(0.8, 1.2, w.shape) for w in layer.get_weights()]
            )


def measure(name: str) -> str:
    """Optimizes a model, times both, and gives a row of the table."""
    model, inputs = CASES[name]()
    vary(model)
    start = time.perf_counter()
    fast = optimize_for_inference(model, inputs)
    spent = time.perf_counter() - start
    print(f"{name}\n{fast.report}", file=sys.stderr)
    calls = {
        "before": lambda: model.predict_on_batch(inputs),
        "now": lambda: fast.predict_on_batch(inputs),
    }
    apart = difference(calls["now"](), calls["before"]())
    times = turns(calls, SECONDS, ROUNDS)
    before, now = (median_interval(times[key]).median for key in calls)
    ratio = ratio_interval(times["now"], times["before"])
    ways = ", ".join(sorted({*fast.report.kernels.values()} - {"keras"}))
    rows = len(keras.tree.flatten(inputs)[0])
    return (
        f"| {name} | {rows} | {backend.name()} | {1e3 * before:.2f} "
        f"| {1e3 * now:.2f} | {interval(ratio)} | {fast.report.program} "
        f"{fast.report.mode} | {len(fast.report.merged)} | {ways} "
        f"| {apart:.1e} | {spent:.0f} |"
    )


def main(names: list[str]) -> None:
    """Prints a row for each model."""
    for name in names or CASES:
        print(measure(name), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
