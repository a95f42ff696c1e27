"""What the classifier workloads share: network, images, and contenders."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.cost import model_cost
from benchmarks.fitting import Trainer
from benchmarks.results import Cost
from benchmarks.workload import Contender, Setting, Steps, Workload
from keras_multi import backend, optimize_for_inference, optimizers
from keras_multi.training import record_steps
from vision.backbones import ResNet
from vision.classifier import Classifier

SIDE = 64
NATIVE_PRECISIONS = ("float32", "mixed_bfloat16")
TRAINING_OUTPUT_STEPS = 3
LEARNING_RATE, MOMENTUM = 0.001, 0.9
EPSILON, NORM_MOMENTUM = 1e-5, 0.9  # of the normalizations

# From images and rows per batch to logits.
Predict = Callable[[np.ndarray, int], np.ndarray]
# From images, labels and rows per batch to the mean loss of the batches.
Fit = Callable[[np.ndarray, np.ndarray, int], float]
# Name of a layer to its arrays, as Keras keeps them.
Weights = dict[str, list[np.ndarray]]


class Network:
    """A residual network for large images, with random weights.

    Args:
        depths: number of blocks of each stage.
        widths: number of channels of each stage.
        num_classes: number of classes.
    """

    def __init__(
        self, depths: tuple[int, ...], widths: tuple[int, ...], num_classes: int
    ) -> None:
        self.depths, self.widths = depths, widths
        self.num_classes = num_classes

    def build(self, precision: str) -> Classifier:
        """Makes it in Keras, with weights from a fixed seed."""
        backbone = ResNet(
            self.depths, self.widths, large_images=True, dtype=precision
        )
        model = Classifier(backbone, self.num_classes, dropout=0.0)
        rng = np.random.default_rng(0)
        for layer in [*backbone.layers, model.head]:
            layer.set_weights([_draw(rng, w) for w in layer.weights])
        return model

    def weights(self) -> Weights:
        """The weights of each layer."""
        model = self.build("float32")
        return {
            layer.name: layer.get_weights()
            for layer in [*model.backbone.layers, model.head]
            if layer.weights
        }


def _draw(rng: np.random.Generator, weight: Any) -> np.ndarray:
    if weight.ndim > 1:
        fan_in = np.prod(weight.shape[:-1])
        return rng.normal(0, (2 / fan_in) ** 0.5, weight.shape)
    if weight.name in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, weight.shape)
    return rng.normal(0, 0.1, weight.shape)


class Prediction(Contender):
    """A function of images, over consecutive batches."""

    def __init__(
        self, predict: Predict, images: np.ndarray, batch_size: int
    ) -> None:
        self.predict, self.images = predict, images
        self.batch_size = batch_size
        self.steps = Steps(batch_size, len(images) // batch_size)

    def output(self) -> np.ndarray:
        """Logits of the first batch."""
        return self.predict(self.images[self.steps.take(1)], self.batch_size)

    def run(self, steps: int) -> None:
        """Predicts the next batches."""
        self.predict(self.images[self.steps.take(steps)], self.batch_size)


class Training(Contender):
    """A function of images and labels, over consecutive batches."""

    def __init__(
        self, fit: Fit, images: np.ndarray, labels: np.ndarray, batch_size: int
    ) -> None:
        self.fit, self.images, self.labels = fit, images, labels
        self.batch_size = batch_size
        self.steps = Steps(batch_size, len(images) // batch_size)

    def output(self) -> np.ndarray:
        """Losses of the first steps."""
        return np.array([self._fit(1) for _ in range(TRAINING_OUTPUT_STEPS)])

    def run(self, steps: int) -> None:
        """Trains on the next batches."""
        self._fit(steps)

    def _fit(self, steps: int) -> float:
        rows = self.steps.take(steps)
        return self.fit(self.images[rows], self.labels[rows], self.batch_size)


class _ClassifierWorkload(Workload):
    unit = "images"

    def __init__(self, network: Network, batch_sizes: tuple[int, ...]) -> None:
        self.network, self.batch_sizes = network, batch_sizes

    def _images(self, setting: Setting) -> np.ndarray:
        rows = 2 * setting.batch_size * self.steps(setting.batch_size)
        rng = np.random.default_rng(1)
        return rng.uniform(0, 255, (rows, SIDE, SIDE, 3)).astype("float32")

    def _native(self, verb: str, setting: Setting) -> Any:
        """A function of the network written by hand for this backend."""
        module = importlib.import_module(
            f"benchmarks.workloads.native.resnet_{backend.name()}"
        )
        make = getattr(module, verb)
        return make(self.network.weights(), self.network.depths, setting)


class ClassifierPrediction(_ClassifierWorkload):
    """Predictions for images of 64x64 pixels.

    Args:
        network: what predicts.
        batch_sizes: the batch sizes that are measured.
    """

    def steps(self, batch_size: int) -> int:
        """Fewer for large batches."""
        return max(16 // batch_size, 2)

    def cost(self, batch_size: int) -> Cost | None:
        """Counts a step on the backend in use."""
        images = np.zeros((batch_size, SIDE, SIDE, 3), np.float32)
        return model_cost(self.network.build("float32"), images, None, False)

    def build(self, setting: Setting) -> Contender:
        """The project's classifier, optimized for inference.

        Not where it is compiled as a whole, which each program would be.
        """
        model: Any = self.network.build(setting.precision)
        model.compile(jit_compile=setting.mode in ("xla", "compile"))
        images = self._images(setting)
        if setting.mode != "compile":
            model = optimize_for_inference(
                model, images[: setting.batch_size], modes=[setting.mode]
            )

        def predict(images: np.ndarray, batch_size: int) -> np.ndarray:
            logits: np.ndarray = model.predict(
                images, batch_size=batch_size, verbose=0
            )
            return logits

        return Prediction(predict, images, setting.batch_size)

    def native(self, setting: Setting) -> Contender | None:
        """The network written by hand for this backend."""
        if setting.precision not in NATIVE_PRECISIONS:
            return None
        predict: Predict = self._native("predict", setting)
        return Prediction(predict, self._images(setting), setting.batch_size)


class ClassifierTraining(_ClassifierWorkload):
    """Training steps on images of 64x64 pixels, SGD with momentum.

    Args:
        network: what trains.
        batch_sizes: the batch sizes that are measured.
    """

    output_steps = TRAINING_OUTPUT_STEPS

    def steps(self, batch_size: int) -> int:
        """Few, since a step takes a good part of a second."""
        return 2

    def cost(self, batch_size: int) -> Cost | None:
        """Counts a step on the backend in use."""
        images = np.zeros((batch_size, SIDE, SIDE, 3), np.float32)
        labels = np.zeros(batch_size, np.int32)
        model = self._compiled(Setting(batch_size, "float32", ""))
        return model_cost(model, images, labels, True)

    def _compiled(self, setting: Setting) -> keras.Model:
        model: keras.Model = self.network.build(setting.precision)
        model.compile(
            optimizers.SGD(LEARNING_RATE, MOMENTUM),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=setting.mode in ("xla", "compile"),
        )
        return model

    def _contender(self, fit: Fit, setting: Setting) -> Contender:
        images = self._images(setting)
        labels = np.random.default_rng(2).integers(
            0, self.network.num_classes, len(images), dtype="int32"
        )
        return Training(fit, images, labels, setting.batch_size)

    def build(self, setting: Setting) -> Contender:
        """`Model.fit` of the project's classifier."""
        model = self._compiled(setting)
        record_steps(model)
        train = Trainer(model, setting.batch_size)

        def fit(
            images: np.ndarray, labels: np.ndarray, batch_size: int
        ) -> float:
            return train(images, labels)

        return self._contender(fit, setting)

    def native(self, setting: Setting) -> Contender | None:
        """The network written by hand for this backend."""
        if setting.precision not in NATIVE_PRECISIONS:
            return None
        return self._contender(self._native("train", setting), setting)
