"""How an autoencoder learns."""

from typing import Any

import keras
import numpy as np
from keras import ops

from diffusion.vae import VAE

ABSOLUTE = 0.3  # weight of the absolute error beside the squared one


class Autoencoding(keras.Model):
    """Trains a VAE: to give pictures back, and to keep latents near normal.

    Kingma and Welling 2014, "Auto-Encoding Variational Bayes", equation 10
    and appendix B, with the absolute error added for sharper edges.

    Args:
        vae: the model to train.
        kl_weight: weight of the divergence of the latents from a standard
            normal distribution, in nats per number.
        seed: of the noise in the latents.
        **kwargs: arguments of `keras.Model`.

    Call arguments:
        pictures: uint8 `(B, H, W, 3)`.

    Returns:
        The loss of each picture, float32 `(B,)`.
    """

    def __init__(
        self, vae: VAE, kl_weight: float, seed: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.vae = vae
        self.kl_weight = kl_weight
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, *_: Any) -> None:
        """Makes the weights."""
        self.vae.build()

    def call(self, pictures: Any) -> Any:
        """Computes the losses; see the class."""
        pictures = ops.cast(pictures, "float32") / 127.5 - 1
        mean, log_variance = self.vae.encode(pictures)
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        decoded = self.vae.decode(mean + ops.exp(log_variance / 2) * noise)
        error = decoded - pictures
        divergence = mean**2 + ops.exp(log_variance) - 1 - log_variance
        return (
            ops.mean(error**2 + ABSOLUTE * ops.abs(error), axis=(1, 2, 3))
            + self.kl_weight * ops.mean(divergence, axis=(1, 2, 3)) / 2
        )

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Gives the mean of the losses."""
        return ops.mean(y_pred)


class Decoding(keras.Model):
    """Trains the decoder alone, so that latents keep their meaning.

    As the decoders of Stable Diffusion were trained further on the squared
    error. It also makes up for the small errors of a sampler: the latents get
    some noise.

    Args:
        vae: the model whose decoder to train.
        noise: standard deviation of the noise, for latents that are scaled.
        seed: of the noise.
        **kwargs: arguments of `keras.Model`.

    Call arguments:
        inputs: `latents`, float32 `(B, h, w, C)`, scaled; and `pictures`,
            uint8 `(B, H, W, 3)`.

    Returns:
        The mean squared error of each picture, float32 `(B,)`.
    """

    def __init__(
        self, vae: VAE, noise: float, seed: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.decoder = vae.decoder
        self.scaling_factor = vae.scaling_factor
        self.noise = noise
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: dict[str, Any]) -> Any:
        """Computes the losses; see the class."""
        latents = inputs["latents"]
        noise = keras.random.normal(
            ops.shape(latents), seed=self.seed_generator
        )
        latents = (latents + self.noise * noise) / self.scaling_factor
        error = self.decoder(latents) - (
            ops.cast(inputs["pictures"], "float32") / 127.5 - 1
        )
        return ops.mean(error**2, axis=(1, 2, 3))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Gives the mean of the losses."""
        return ops.mean(y_pred)


def encode(vae: VAE, pictures: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Encodes pictures, without noise and not scaled.

    Args:
        vae: the model.
        pictures: uint8 `(n, H, W, 3)`.
        batch_size: how many at once.

    Returns:
        float32 `(n, h, w, C)`.
    """
    encoder = keras.Sequential([keras.Input(pictures.shape[1:]), Mean(vae)])
    return np.asarray(encoder.predict(pictures, batch_size, verbose=0))


class Mean(keras.layers.Layer):
    """Gives the means of the latents of uint8 pictures."""

    def __init__(self, vae: VAE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vae = vae

    def call(self, pictures: Any) -> Any:
        """Computes `(B, h, w, C)` from `(B, H, W, 3)`."""
        pictures = ops.cast(pictures, "float32") / 127.5 - 1
        return self.vae.encode(pictures)[0]
