"""The recipe of a training run: what people tune, with its defaults."""

from dataclasses import dataclass
from typing import Any

from keras_multi.backend import AUTO, PRECISIONS
from keras_multi.fields import checked, choose, require


@dataclass(frozen=True)
class Recipe:
    """Everything a training run depends on, but for the backend.

    Make it with `Recipe.of`, which checks names and types.

    Attributes:
        start: preset to go on from, such as the folder of another run: its
            autoencoder stays as it is, and its text encoder and UNet are
            trained further; `None` to begin from nothing.
        pictures: number of captioned drawings to learn, at most; `None` for
            all.
        vae_channels: of the autoencoder at half and quarter size.
        latent_channels: channels of the latents.
        vae_epochs: passes over the pictures, in some of their places.
        vae_batch_size: pictures per step.
        vae_learning_rate: highest step size of AdamW.
        decoder_epochs: further passes for the decoder alone.
        decoder_noise: standard deviation of the noise in its latents.
        kl_weight: weight of the divergence of the latents from a standard
            normal distribution.
        channels: of the UNet at an eighth of the size and below.
        attention: whether the UNet attends to the caption at each of these
            resolutions.
        num_heads: attention heads of the UNet; they must divide `channels`.
        text_dim: width of the text encoder.
        text_layers: number of its blocks.
        epochs: passes over all pictures in all places.
        batch_size: pictures per step.
        learning_rate: highest step size of AdamW; a twentieth of the steps
            lead up to it, and a cosine down to a fiftieth of it.
        weight_decay: of the matrices and kernels.
        clip: largest norm of all gradients together.
        ema: momentum of the moving average of the weights, which is kept.
        min_snr: largest signal-to-noise ratio that counts in the loss.
        drop_caption: share of pictures that are shown without caption.
        judge_epochs: passes over the renderings that the judge learns from.
        precision: Keras dtype policy of text encoder and UNet, or `"auto"`
            for the faster of float32 and mixed_bfloat16 (see
            `keras_multi.choose_precision`); the autoencoder, whose errors are
            those of pixels, has float32.
        seed: seed of the weights, the noise and the order of the pictures.
    """

    start: str | None = None
    pictures: int | None = None
    vae_channels: tuple[int, ...] = (32, 48)
    latent_channels: int = 4
    vae_epochs: int = 10
    vae_batch_size: int = 8
    vae_learning_rate: float = 2.5e-3
    decoder_epochs: int = 12
    decoder_noise: float = 0.05
    kl_weight: float = 2e-4
    channels: tuple[int, ...] = (72, 104)
    attention: tuple[bool, ...] = (False, True)
    num_heads: int = 4
    text_dim: int = 128
    text_layers: int = 1
    epochs: int = 120
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    min_snr: float = 1.0
    drop_caption: float = 0.1
    judge_epochs: int = 30
    precision: str = "mixed_bfloat16"
    seed: int = 42

    def __post_init__(self) -> None:
        choose("precision", self.precision, (*PRECISIONS, AUTO))
        for name in (
            "latent_channels",
            "vae_epochs",
            "vae_batch_size",
            "decoder_epochs",
            "num_heads",
            "text_dim",
            "text_layers",
            "epochs",
            "batch_size",
            "judge_epochs",
        ):
            require(self, name, getattr(self, name) >= 1, "be at least 1")
        for name in ("vae_learning_rate", "learning_rate", "clip", "min_snr"):
            require(self, name, getattr(self, name) > 0, "be more than 0")
        for name in ("kl_weight", "decoder_noise", "weight_decay"):
            require(self, name, getattr(self, name) >= 0, "not be negative")
        for name in ("ema", "drop_caption"):
            inside = 0 <= getattr(self, name) < 1
            require(self, name, inside, "lie in [0, 1)")
        require(self, "seed", 0 <= self.seed < 2**32, "lie in [0, 2**32)")
        enough = self.pictures is None or self.pictures >= 1
        require(self, "pictures", enough, "be at least 1")
        for name in ("vae_channels", "channels"):
            multiple = all(c >= 1 and c % GROUPS == 0 for c in self._of(name))
            require(self, name, multiple, f"be multiples of {GROUPS}")
        fits = len(self.attention) == len(self.channels) > 0
        require(self, "attention", fits, "have one value per resolution")
        fits = all(c % self.num_heads == 0 for c in self.channels)
        require(self, "num_heads", fits, f"divide channels={self.channels}")

    def _of(self, name: str) -> tuple[int, ...]:
        values: tuple[int, ...] = getattr(self, name)
        return values

    @classmethod
    def of(cls, **fields: Any) -> "Recipe":
        """Makes a recipe of the defaults and what differs from them.

        Raises:
            UsageError: if a name is unknown, or a value has the wrong type or
                is out of range.

        Example:
            >>> Recipe.of(epochs=3).epochs
            3
        """
        return cls(**checked(cls, fields))


GROUPS = 8  # of the normalizations
