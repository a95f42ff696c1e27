"""What the workloads of Stable Diffusion share: weights, and the models."""

import functools
import importlib
import importlib.util
import zlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.cost import COUNTERS, least_bytes
from benchmarks.results import Cost
from benchmarks.workload import Contender, Setting, Workload
from diffusion import keras_cv as files
from diffusion.config import config_of
from diffusion.names import slots_of
from diffusion.unet import UNet
from diffusion.vae import VAE
from keras_multi import backend

BATCHES = 4  # different ones, in turn
PRECISIONS = ("float32", "bfloat16", "mixed_bfloat16")

Inputs = tuple[np.ndarray, ...]
Call = Callable[..., Any]  # of arrays, to an array `(B, H, W, C)`


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draws a weight, the same for all who ask for it.

    The outputs of a layer have about the size of its inputs.

    Args:
        name: in a file of `diffusers`.
        shape: in such a file.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    numbers = rng.standard_normal(shape, "float32")
    if len(shape) > 1:
        return numbers * np.float32(np.prod(shape[1:]) ** -0.5)
    is_scale = name.endswith("weight")
    return np.float32(0.05) * numbers + np.float32(is_scale)


class ModelCall(Workload):
    """Calls of one model of Stable Diffusion with random weights.

    Args:
        side: of the pictures, in pixels.
        batch_sizes: numbers of pictures that are measured.
        **arguments: of the model, where they are not those of Stable
            Diffusion 1. KerasCV has no other, and is no peer then.
    """

    unit = "pictures"

    def __init__(
        self, side: int, batch_sizes: tuple[int, ...], **arguments: Any
    ) -> None:
        self.side, self.batch_sizes = side, batch_sizes
        self.arguments = arguments
        self.precision = "float32"  # of what was built last

    @abstractmethod
    def model(self, dtype: str) -> UNet | VAE:
        """Makes the project's model."""

    @abstractmethod
    def inputs(self, batch_size: int) -> Inputs:
        """Draws a batch; each array has `BATCHES` of them in front."""

    @abstractmethod
    def call(self, model: Any) -> Call:
        """Gives the function that is measured."""

    @abstractmethod
    def keras_cv(self, model: Any) -> keras.Model:
        """Gives the model of KerasCV, with the weights of ours."""

    def keras_cv_inputs(self, inputs: Inputs) -> Inputs:
        """Gives what the model of KerasCV takes in the place of `inputs`."""
        return inputs

    @abstractmethod
    def diffusers(self, *arguments: Any) -> Call:
        """Gives the model of diffusers; see `native.diffusers`."""

    def steps(self, batch_size: int) -> int:
        """Few: each takes long."""
        return 2

    def cost(self, batch_size: int) -> Cost | None:
        """Counts a call on the backend in use."""
        model = filled(self, self.precision)
        inputs = [ops.convert_to_tensor(x[0]) for x in self.inputs(batch_size)]
        outputs: list[Any] = []

        def call() -> Any:
            outputs[:] = [self.call(model)(*inputs)]
            return outputs[0]

        operations = backend.operations(call)
        if operations is None:
            return None
        return Cost(
            operations=operations,
            bytes=least_bytes(model, inputs, outputs, training=False),
            source=COUNTERS[backend.name()],
        )

    def build(self, setting: Setting) -> Contender:
        """The project's model."""
        self.precision = setting.precision
        model = filled(self, self.precision)
        program = backend.bind(
            model, self.call(model), setting.mode, static=True
        )

        def call(*inputs: np.ndarray) -> Any:
            outputs = program(*map(ops.convert_to_tensor, inputs))
            return ops.convert_to_numpy(outputs)

        return Calls(call, self.inputs(setting.batch_size))

    def peers(self, setting: Setting) -> Mapping[str, Contender]:
        """KerasCV and diffusers, where they are installed."""
        found: dict[str, Contender] = {}
        if setting.precision not in PRECISIONS:
            return found
        inputs = self.inputs(setting.batch_size)
        if installed("keras_cv") and not self.arguments:
            theirs = _keras_cv(self, setting.precision, setting.mode)

            def predict(*inputs: np.ndarray) -> Any:
                return theirs.predict_on_batch(
                    list(inputs) if len(inputs) > 1 else inputs[0]
                )

            found["keras-cv"] = Calls(predict, self.keras_cv_inputs(inputs))
        if installed("diffusers") and "torch" in backend.available():
            found["diffusers"] = Calls(
                _diffusers(self, setting.precision), inputs
            )
        return found


def diffusers_models() -> Any:
    """Imports the models of diffusers, which need PyTorch."""
    return importlib.import_module("benchmarks.workloads.native.diffusers")


def installed(package: str) -> bool:
    """Tells whether a package is there, without importing it."""
    return importlib.util.find_spec(package) is not None


# Models are large, so the cells of all batch sizes share one of each kind.


@functools.lru_cache(maxsize=1)
def filled(workload: ModelCall, dtype: str) -> UNet | VAE:
    """Makes the model of a workload, with its weights."""
    model = workload.model(dtype)
    for name, slot in slots_of(model).items():
        slot.variable.assign(slot.to_model(draw(name, slot.shape)))
    return model


@functools.lru_cache(maxsize=1)
def _keras_cv(workload: ModelCall, dtype: str, mode: str) -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = workload.keras_cv(filled(workload, dtype))
    finally:
        keras.config.set_dtype_policy(before)
    model.compile(jit_compile=mode in ("xla", "compile"))
    return model


@functools.lru_cache(maxsize=1)
def _diffusers(workload: ModelCall, dtype: str) -> Call:
    config = config_of(filled(workload, dtype))
    return workload.diffusers(config, draw, dtype)


def with_weights_of(ours: Any, theirs: keras.Model) -> keras.Model:
    """Gives a model of KerasCV the weights of ours.

    Args:
        ours: see `diffusion.keras_cv.load`.
        theirs: the model.

    Returns:
        `theirs`.
    """
    weights = [w for layer in theirs.layers for w in layer.weights]
    # Copies: on JAX `predict` gives the memory of a model's weights away.
    copy = backend.framework().constant
    for weight, (variable, _) in zip(weights, files.places(ours), strict=True):
        weight.assign(copy(ops.reshape(variable.value, weight.shape)))
    return theirs


class Calls(Contender):
    """A function of arrays, over some batches in turn.

    Args:
        call: the function.
        inputs: its arguments, each with a row for every batch.
    """

    def __init__(self, call: Call, inputs: Inputs) -> None:
        self.call = call
        self.batches = list(zip(*inputs, strict=True))
        self.done = 0

    def output(self) -> np.ndarray:
        """Result of the first batch."""
        return np.asarray(self.call(*self.batches[0]), "float32")

    def run(self, steps: int) -> None:
        """Takes the next batches."""
        for _ in range(steps):
            self.call(*self.batches[self.done % len(self.batches)])
            self.done += 1
