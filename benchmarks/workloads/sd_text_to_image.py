"""Pictures of 64x64 pixels of a prompt, from the text to the last pixel.

A small Stable Diffusion with random weights, about as large as the one that
`diffusion train` makes: 20 steps of DDIM with guidance. The peer is
`diffusers`; KerasCV has one size only.
"""

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.stable_diffusion import (
    BATCHES,
    Calls,
    diffusers_models,
    draw,
    installed,
)
from benchmarks.workload import Contender, Setting, Workload
from diffusion import VAE, CLIPTextEncoder, StableDiffusion, UNet
from diffusion.names import slots_of
from diffusion.options import Noise
from diffusion.schedulers import NoiseSchedule
from diffusion.slots import assign
from diffusion.tokenizer import CLIPTokenizer
from keras_multi import backend

PROMPT = "a green apple under a red tree"
SIDE = 64
LATENTS = (16, 16, 4)
TOKENS = 16
GUIDANCE = 2.0
# Bits of a float16 are too few for a step, and diffusers has no mixed types.
PEER_PRECISIONS = ("float32", "bfloat16")


class TextToImage(Workload):
    """Pictures of a prompt.

    Args:
        channels: of the UNet, at each resolution.
        num_steps: of the sampler.
        batch_sizes: numbers of pictures that are measured.
    """

    unit = "pictures"
    tolerance = 0.02  # of the 255 levels of a pixel

    def __init__(
        self,
        channels: tuple[int, ...],
        num_steps: int,
        batch_sizes: tuple[int, ...],
    ) -> None:
        self.channels, self.num_steps = channels, num_steps
        self.batch_sizes = batch_sizes

    def steps(self, batch_size: int) -> int:
        """Few: each takes long."""
        return 2

    def pipeline(self, dtype: str) -> StableDiffusion:
        """Makes the project's pipeline."""
        return _pipeline(self.channels, dtype)

    def build(self, setting: Setting) -> Contender:
        """The project's pipeline."""
        pipeline = self.pipeline(setting.precision)

        def call(noise: np.ndarray) -> Any:
            return pipeline.generate_image(
                pipeline.encode_text(PROMPT),
                batch_size=len(noise),
                noise=noise,
                num_steps=self.num_steps,
                guidance_scale=GUIDANCE,
                scheduler="ddim",
            )

        return Calls(call, self._inputs(setting))

    def peers(self, setting: Setting) -> Mapping[str, Contender]:
        """The pipeline of diffusers, where it is installed."""
        if setting.precision not in PEER_PRECISIONS:
            return {}
        if not installed("diffusers") or "torch" not in backend.available():
            return {}
        with tempfile.TemporaryDirectory() as folder:
            self.pipeline("float32").save_to_preset(folder)
            call = diffusers_models().text_to_image(
                Path(folder),
                setting.precision,
                num_inference_steps=self.num_steps,
                guidance_scale=GUIDANCE,
                height=SIDE,
                width=SIDE,
            )
        theirs = functools.partial(call, PROMPT)
        return {"diffusers": Calls(theirs, self._inputs(setting))}

    def _inputs(self, setting: Setting) -> tuple[np.ndarray]:
        noise = Noise(1, BATCHES * setting.batch_size, LATENTS).draw()
        return (noise.reshape(BATCHES, setting.batch_size, *LATENTS),)


@functools.lru_cache(maxsize=2)
def _pipeline(channels: tuple[int, ...], dtype: str) -> StableDiffusion:
    tokenizer = CLIPTokenizer.from_words(PROMPT.split(), max_length=TOKENS)
    models: tuple[keras.Model, ...] = (
        CLIPTextEncoder(
            len(tokenizer), 1, 4, 128, 256, max_length=TOKENS, dtype=dtype
        ),
        UNet(
            channels=channels,
            attention=(False, *(True,) * (len(channels) - 1)),
            layers_per_block=1,
            num_heads=4,
            context_dim=128,
            norm_groups=8,
            dtype=dtype,
        ),
        VAE(
            channels=(16, 32, 48),
            layers_per_block=1,
            norm_groups=8,
            middle_attention=False,
            dtype=dtype,
        ),
    )
    for model in models:
        slots = slots_of(model)
        assign(slots, {name: draw(name, s.shape) for name, s in slots.items()})
    schedule = NoiseSchedule(prediction="v")  # bounded with random weights
    return StableDiffusion(*models, tokenizer, schedule, (SIDE, SIDE))


WORKLOAD = TextToImage((72, 104), num_steps=20, batch_sizes=(1, 3))
