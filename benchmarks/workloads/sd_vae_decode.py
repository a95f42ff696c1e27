"""The decoder of Stable Diffusion 1.4, to pictures of 128x128 pixels."""

from typing import Any

import keras
import numpy as np

from benchmarks.stable_diffusion import (
    BATCHES,
    Call,
    Inputs,
    ModelCall,
    diffusers_models,
    with_weights_of,
)
from diffusion.vae import VAE


class Decoding(ModelCall):
    """Latents to pictures."""

    def model(self, dtype: str) -> VAE:
        """The project's autoencoder."""
        return VAE(**self.arguments, dtype=dtype)

    def inputs(self, batch_size: int) -> Inputs:
        """Latents, scaled."""
        shape = (BATCHES, batch_size, self.side // 8, self.side // 8, 4)
        return (np.random.default_rng(1).standard_normal(shape, "float32"),)

    def call(self, model: Any) -> Call:
        """The decoder."""
        return lambda latents: model.decode(latents / model.scaling_factor)

    def keras_cv(self, model: Any) -> keras.Model:
        """Its `Decoder`."""
        from keras_cv.src.models.stable_diffusion import decoder

        theirs = decoder.Decoder(self.side, self.side, download_weights=False)
        return with_weights_of(model.decoder, theirs)

    def diffusers(self, *arguments: Any) -> Call:
        """Its `AutoencoderKL`."""
        return diffusers_models().decoder(*arguments)


WORKLOAD = Decoding(128, batch_sizes=(1,))
