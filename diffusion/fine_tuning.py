"""The recipe of a fine-tuning: what people tune, with its defaults."""

from dataclasses import dataclass
from typing import Any

from keras_multi.backend import AUTO, PRECISIONS
from keras_multi.fields import checked, choose, require

# Highest step size of AdamW, by method, where none is given.
LEARNING_RATES = {"unet": 1e-5, "lora": 1e-4, "concept": 5e-3, "vae": 1e-5}


@dataclass(frozen=True)
class FineTuning:
    """Everything a fine-tuning depends on, but for the backend.

    Make it with `FineTuning.of`, which checks names and types.

    Attributes:
        data: folder of captioned pictures, see `diffusion.captioned.read`.
        preset: pipeline to begin with.
        method: `"unet"` trains the UNet; `"lora"` low-rank changes of its
            attention; `"concept"` the vector of one new word; `"vae"` the
            autoencoder, which does not look at captions.
        side: of the pictures, in pixels; that of the preset if `None`.
        text_encoder: whether the text encoder is trained, too; with `"unet"`.
        rank: of the changes; with `"lora"`.
        word: the new word, which the captions must hold; with `"concept"`.
        like: a word whose vector the new one starts from; with `"concept"`.
        kl_weight: weight of the divergence of the latents from a standard
            normal distribution; with `"vae"`.
        epochs: passes over the pictures.
        batch_size: pictures per step.
        learning_rate: highest step size of AdamW; a tenth of the steps lead
            up to it, and a cosine down to a tenth of it. `None` for that of
            `LEARNING_RATES`.
        weight_decay: of all that is trained.
        clip: largest norm of all gradients together.
        ema: momentum of the moving average of the weights, which is kept; 0
            for no average.
        min_snr: largest signal-to-noise ratio that counts in the loss.
        drop_caption: share of pictures that are shown without caption.
        precision: Keras dtype policy, or `"auto"` for the faster of float32
            and mixed_bfloat16: see `keras_multi.choose_precision`.
        seed: of the noise and the order of the pictures.
    """

    data: str
    preset: str = "emoji"
    method: str = "unet"
    side: int | None = None
    text_encoder: bool = False
    rank: int = 4
    word: str = "<new>"
    like: str = ""
    kl_weight: float = 1e-6
    epochs: int = 10
    batch_size: int = 1
    learning_rate: float | None = None
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.0
    min_snr: float = 5.0
    drop_caption: float = 0.1
    precision: str = "float32"
    seed: int = 42

    def __post_init__(self) -> None:
        choose("precision", self.precision, (*PRECISIONS, AUTO))
        choose("method", self.method, tuple(LEARNING_RATES))
        for name in ("rank", "epochs", "batch_size"):
            require(self, name, getattr(self, name) >= 1, "be at least 1")
        for name in ("side", "learning_rate"):
            value = getattr(self, name)
            require(self, name, value is None or value > 0, "be more than 0")
        for name in ("clip", "min_snr"):
            require(self, name, getattr(self, name) > 0, "be more than 0")
        for name in ("kl_weight", "weight_decay"):
            require(self, name, getattr(self, name) >= 0, "not be negative")
        for name in ("ema", "drop_caption"):
            inside = 0 <= getattr(self, name) < 1
            require(self, name, inside, "lie in [0, 1)")
        require(self, "seed", 0 <= self.seed < 2**32, "lie in [0, 2**32)")
        one = len(self.word.split()) == 1
        require(self, "word", one, "be one word without a space")
        given = self.method != "concept" or self.like.strip() != ""
        require(self, "like", given, "name a word that is like the new one")

    @property
    def rate(self) -> float:
        """Highest step size."""
        if self.learning_rate is None:
            return LEARNING_RATES[self.method]
        return self.learning_rate

    @classmethod
    def of(cls, **fields: Any) -> "FineTuning":
        """Makes a recipe of the defaults and what differs from them.

        Raises:
            UsageError: if a name is unknown, or a value has the wrong type or
                is out of range.

        Example:
            >>> FineTuning.of(data="cats", method="lora").rate
            0.0001
        """
        return cls(**checked(cls, fields))
