"""Models as simple as possible in the place of large ones."""

import keras
import numpy as np
from keras import ops

from diffusion.stable_diffusion import StableDiffusion
from diffusion.tokenizer import CLIPTokenizer

WORDS = ["red", "green", "apple"]
SCALE = 4  # pixels to a side of a latent


class TinyUNet(keras.Model):
    """Predicts `a * latents + b * mean of the context + c * timestep`."""

    in_channels = 3
    size_multiple = 2

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.traces = 0

    def build(self, *_):
        if not self.built:
            values = keras.initializers.Constant([0.9, 0.02, 1e-5])
            self.factors = self.add_weight(shape=(3,), initializer=values)

    def call(self, latents, timesteps, context, context_mask=None):
        self.traces += 1
        factors = ops.convert_to_tensor(self.factors)
        if context_mask is not None:
            context = context * ops.cast(context_mask, "float32")[..., None]
        words = ops.mean(context, axis=(1, 2))[:, None, None, None]
        times = ops.reshape(timesteps, (-1, 1, 1, 1))
        return factors[0] * latents + factors[1] * words + factors[2] * times


class TinyVAE(keras.Model):
    """Latents are the means of squares of pixels, and a picture the squares."""

    downscale = SCALE
    scaling_factor = 4.0

    def build(self, *_):
        self.built = True

    def encode(self, images):
        mean = ops.average_pool(
            images, SCALE, SCALE, data_format="channels_last"
        )
        return mean, ops.zeros_like(mean)

    def decode(self, latents):
        rows = ops.repeat(latents, SCALE, axis=1)
        return ops.repeat(rows, SCALE, axis=2)


class TinyTextEncoder(keras.Model):
    """Gives the id of each token and the number of its place."""

    def build(self, *_):
        self.built = True

    def call(self, ids):
        ids = ops.cast(ids, "float32")
        places = ops.arange(ids.shape[1], dtype="float32")
        return ops.stack([ids, ops.broadcast_to(places, ids.shape)], axis=-1)


def built(model):
    model.build()
    return model


def pipeline(**kwargs):
    parts = {
        "text_encoder": built(TinyTextEncoder()),
        "unet": built(TinyUNet()),
        "vae": built(TinyVAE()),
        "tokenizer": CLIPTokenizer.from_words(WORDS, 6),
        "image_size": (16, 16),
    }
    return StableDiffusion(**(parts | kwargs))


def picture(seed=0, shape=(16, 16, 3)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape).astype("uint8")
