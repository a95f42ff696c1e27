"""How a UNet and a text encoder learn together."""

from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
from keras import ops

from diffusion.clip import CLIPTextEncoder
from diffusion.schedulers import NoiseSchedule
from diffusion.unet import UNet

if TYPE_CHECKING:
    from diffusion.fine_tuning import FineTuning
    from diffusion.recipe import Recipe
    from diffusion.stable_diffusion import StableDiffusion

# Added to every weight: at low noise the others vanish where v is predicted.
LEAST_WEIGHT = 0.1


class Denoising(keras.Model):
    """Trains a UNet, and a text encoder with it if that is trainable.

    Ho et al. 2020, "Denoising Diffusion Probabilistic Models", equation 14,
    weighted as in Hang et al. 2023, "Efficient Diffusion Training via Min-SNR
    Weighting Strategy", section 3.4, with captions left out now and then (Ho
    and Salimans 2022, "Classifier-Free Diffusion Guidance", algorithm 1). The
    timesteps of a batch are spread evenly from a random start (Kingma et al.
    2021, "Variational Diffusion Models", appendix I.1).

    Args:
        unet: the model to train.
        text_encoder: what encodes the captions.
        schedule: of the noise.
        empty: int32 `(T,)`, the tokens of the empty caption.
        min_snr: largest signal-to-noise ratio that counts.
        drop_caption: share of examples with the empty caption.
        seed: of noise, timesteps and captions.
        **kwargs: arguments of `keras.Model`.

    Call arguments:
        inputs: `latents`, float32 `(B, h, w, C)`, scaled; and `captions`,
            int32 `(B, K, T)`, the tokens of several captions, of which one is
            drawn.

    Returns:
        The weighted loss of each example, float32 `(B,)`.
    """

    def __init__(
        self,
        unet: UNet,
        text_encoder: CLIPTextEncoder,
        schedule: NoiseSchedule,
        empty: np.ndarray,
        min_snr: float,
        drop_caption: float,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.unet = unet
        self.text_encoder = text_encoder
        self.schedule = schedule
        self.empty = tuple(int(token) for token in empty)
        self.min_snr = min_snr
        self.drop_caption = drop_caption
        self.seed_generator = keras.random.SeedGenerator(seed)

    @classmethod
    def of(
        cls,
        pipeline: "StableDiffusion",
        recipe: "Recipe | FineTuning",
        **kwargs: Any,
    ) -> Self:
        """Trains the parts of a pipeline as a recipe says.

        Args:
            pipeline: what has a UNet, a text encoder, a schedule, a tokenizer.
            recipe: with the settings and the seed.
            **kwargs: further arguments of the class.
        """
        return cls(
            pipeline.unet,
            pipeline.text_encoder,
            pipeline.schedule,
            pipeline.tokenizer("")[0],
            recipe.min_snr,
            recipe.drop_caption,
            recipe.seed,
            **kwargs,
        )

    def build(self, *_: Any) -> None:
        """Makes the weights."""
        self.unet.build()
        self.text_encoder.build()

    def call(self, inputs: dict[str, Any]) -> Any:
        """Computes the losses; see the class."""
        clean = inputs["latents"]
        tokens = self._draw_captions(inputs["captions"])
        rows = ops.shape(clean)[0]
        timesteps = self._draw_timesteps(rows)
        noise = keras.random.normal(ops.shape(clean), seed=self.seed_generator)
        output = self.unet(
            self.schedule.add_noise(clean, noise, timesteps),
            timesteps,
            self.encode(tokens),
        )
        target = self.schedule.target(clean, noise, timesteps)
        error = ops.mean((output - target) ** 2, axis=(1, 2, 3))
        return error * self._weights(timesteps)

    def encode(self, tokens: Any) -> Any:
        """Encodes tokens `(B, T)`."""
        return self.text_encoder(tokens)

    def _draw_timesteps(self, rows: Any) -> Any:
        """Draws evenly spread timesteps, int32 `(B,)`."""
        first = keras.random.uniform((), seed=self.seed_generator)
        places = ops.arange(rows, dtype="float32")
        spread = first + places / ops.cast(rows, "float32")
        steps = self.schedule.num_train_steps
        drawn = ops.cast(ops.floor(spread % 1 * steps), "int32")
        return ops.minimum(drawn, steps - 1)

    def _draw_captions(self, captions: Any) -> Any:
        """Draws one caption of each row, or none: `(B, T)`."""
        rows, count = ops.shape(captions)[0], captions.shape[1]
        seed = self.seed_generator
        drawn = keras.random.randint((rows, 1, 1), 0, count, seed=seed)
        tokens = ops.take_along_axis(captions, drawn, axis=1)[:, 0]
        dropped = keras.random.uniform((rows, 1), seed=seed) < self.drop_caption
        empty = ops.convert_to_tensor(self.empty, "int32")
        return ops.where(dropped, empty, tokens)

    def _weights(self, timesteps: Any) -> Any:
        """Weights of the errors, float32 `(B,)`.

        All are those of the estimated data in other terms.
        """
        ratio = self.schedule.signal_to_noise(timesteps)
        if self.schedule.prediction == "epsilon":
            return ops.minimum(1.0, self.min_snr / ratio)
        clipped = ops.minimum(ratio, self.min_snr)
        if self.schedule.prediction == "sample":
            return clipped
        return clipped / (ratio + 1) + LEAST_WEIGHT

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
