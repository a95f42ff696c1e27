"""A call of the UNet of Stable Diffusion 1.4, for pictures of 128x128 pixels.

With one picture it is half a step of the sampler with guidance, with two a
whole one. Peers are KerasCV on the same backend, and `diffusers`.
"""

import functools
import importlib
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.stable_diffusion import (
    BATCHES,
    Call,
    Calls,
    Inputs,
    ModelCall,
    diffusers_models,
    draw,
    filled,
    with_weights_of,
)
from benchmarks.workload import Contender, Setting
from diffusion.config import config_of
from diffusion.names import slots_of
from diffusion.unet import UNet, sinusoids
from keras_multi import backend

TOKENS = 77


class UNetStep(ModelCall):
    """Latents, time steps and contexts to the noise in the latents."""

    tolerance = 1e-3  # KerasCV takes a tanh in place of the error function

    def model(self, dtype: str) -> UNet:
        """The project's UNet."""
        return UNet(**self.arguments, dtype=dtype)

    def inputs(self, batch_size: int) -> Inputs:
        """Latents, time steps and contexts."""
        rng = np.random.default_rng(1)
        dim = self.arguments.get("context_dim", 768)
        latents, contexts = (
            rng.standard_normal((BATCHES, batch_size, *shape), "float32")
            for shape in ((self.side // 8, self.side // 8, 4), (TOKENS, dim))
        )
        times = rng.integers(0, 1000, (BATCHES, batch_size), "int32")
        return latents, times, contexts

    def call(self, model: Any) -> Call:
        """The UNet."""
        return lambda *inputs: model(*inputs)

    def keras_cv(self, model: Any) -> keras.Model:
        """Its `DiffusionModel`."""
        from keras_cv.src.models.stable_diffusion import diffusion_model

        theirs = diffusion_model.DiffusionModel(
            self.side, self.side, TOKENS, download_weights=False
        )
        return with_weights_of(model, theirs)

    def keras_cv_inputs(self, inputs: Inputs) -> Inputs:
        """It takes cosines and sines in the place of time steps."""
        latents, times, contexts = inputs
        waves = ops.convert_to_numpy(sinusoids(times.reshape(-1), 320))
        return latents, waves.reshape(*times.shape, 320), contexts

    def diffusers(self, *arguments: Any) -> Call:
        """Its `UNet2DConditionModel`."""
        return diffusers_models().unet(*arguments)

    def native(self, setting: Setting) -> Contender | None:
        """The UNet written by hand for this backend."""
        if setting.precision != "float32":
            return None
        call = _native(self, setting.mode)
        return Calls(call, self.inputs(setting.batch_size))


@functools.lru_cache(maxsize=1)
def _native(workload: UNetStep, mode: str) -> Call:
    module = importlib.import_module(
        f"benchmarks.workloads.native.unet_{backend.name()}"
    )
    model = filled(workload, "float32")
    weights = (
        (name, draw(name, slot.shape)) for name, slot in slots_of(model).items()
    )
    call: Call = module.unet(weights, config_of(model), mode)
    return call


WORKLOAD = UNetStep(128, batch_sizes=(1, 2))
