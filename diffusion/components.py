"""The models of a pipeline: prompts to contexts, latents to pictures."""

import functools
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from diffusion import concepts
from diffusion.lora import LoRA
from diffusion.parts import Source, check_finite, text_part, unet_part, vae_part
from diffusion.pixels import to_bytes
from diffusion.prompts import encode
from diffusion.schedulers import NoiseSchedule
from diffusion.tokenizer import CLIPTokenizer
from keras_multi.errors import UsageError

SafetyChecker = Callable[[np.ndarray], Sequence[bool]]
Texts = str | Sequence[str]


class Components:
    """Text encoder, UNet and VAE, kept or loaded for each use.

    Args:
        text_encoder: makes `(B, T, D)` of int32 `(B, T)`.
        unet: predicts from latents, timesteps and the encoded prompt.
        vae: with `encode` and `decode`. Each of the three may also be a
            function that loads it: then it is loaded for each use, and freed
            before the next one is.
        tokenizer: of the text encoder.
        schedule: of the noise that the UNet was trained with.
        image_size: height and width of pictures where none is given.
        downscale: number of pixels to a side of a latent, where the VAE is
            a function and does not tell.
        safety_checker: tells of pictures, uint8 `(B, H, W, 3)`, which not to
            show. They become black, with a warning.
    """

    def __init__(
        self,
        text_encoder: Source,
        unet: Source,
        vae: Source,
        tokenizer: CLIPTokenizer,
        schedule: NoiseSchedule | None = None,
        image_size: tuple[int, int] = (512, 512),
        downscale: int = 8,
        safety_checker: SafetyChecker | None = None,
    ) -> None:
        self._text = text_part(text_encoder)
        self._unet = unet_part(unet)
        self._vae = vae_part(vae)
        self.tokenizer = tokenizer
        self.schedule = NoiseSchedule() if schedule is None else schedule
        self.image_size = image_size
        self.downscale: int = getattr(vae, "downscale", downscale)
        self.safety_checker = safety_checker

    @property
    def text_encoder(self) -> keras.Model:
        """The text encoder."""
        return self._text.model

    @property
    def unet(self) -> keras.Model:
        """The UNet."""
        return self._unet.model

    @property
    def vae(self) -> keras.Model:
        """The VAE."""
        return self._vae.model

    def merge_lora(
        self, path: str | os.PathLike[str], scale: float = 1.0
    ) -> None:
        """Adds the changes of a LoRA to text encoder and UNet.

        `LoRA.merge` does it so that they can be taken away again.

        Args:
            path: safetensors file, see `LoRA.read`.
            scale: what the changes are multiplied with.

        Raises:
            DataError: if the file is missing or damaged, or does not fit.
        """
        lora = LoRA.read(path)

        def change(part: str, model: Any) -> Any:
            lora.merge({part: model}, scale)
            return model

        self._text.change(functools.partial(change, "text_encoder"))
        self._unet.change(functools.partial(change, "unet"))

    def add_concepts(self, path: str | os.PathLike[str]) -> None:
        """Teaches the text encoder new words.

        Args:
            path: safetensors file of their vectors, see `concepts.read`.

        Raises:
            DataError: if the file is missing or damaged, or does not fit.
            UsageError: if a word is known already.
        """
        words = concepts.read(path)
        known = len(self.tokenizer)
        self._text.change(
            lambda encoder: concepts.extended(encoder, words, known)
        )
        for word in words:
            self.tokenizer.add(word)

    def encode_text(self, prompts: Texts) -> Any:
        """Encodes prompts, float32 `(B, T, D)`, for `generate_image`.

        Raises:
            UsageError: if a prompt is no text or too long.
        """
        texts = as_list(prompts)
        return self._text.run(
            lambda encoder: encode(encoder, self.tokenizer, texts)
        )

    def decode(self, latents: Any) -> np.ndarray:
        """Makes pictures of latents, such as a callback gets.

        Args:
            latents: float32 `(B, h, w, C)`.

        Returns:
            uint8 `(B, H, W, 3)`.

        Raises:
            KerasMultiError: if a number is NaN or infinite.
        """
        check_finite(latents, "sampler")
        pixels = self._vae.run(lambda codec: codec.decode(latents))
        pictures = to_bytes(ops.convert_to_numpy(pixels))
        if self.safety_checker is not None:
            flagged = np.asarray(self.safety_checker(pictures), "bool")
            if flagged.any():
                pictures[flagged] = 0
                warnings.warn(
                    f"the safety checker rejects {flagged.sum()} of "
                    f"{len(pictures)} pictures; they are black",
                    stacklevel=2,
                )
        return pictures


def as_list(prompts: Texts) -> list[str]:
    """Gives a list of prompts.

    Raises:
        UsageError: if there is none.
    """
    texts = list(prompts) if isinstance(prompts, Iterable) else []
    if not texts and prompts != "":
        raise UsageError(f"there is no prompt. Received: {prompts!r}")
    return [prompts] if isinstance(prompts, str) else texts
