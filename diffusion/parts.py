"""The models of a pipeline, kept or loaded for each use."""

import gc
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from diffusion.sampling import SamplingLoop
from diffusion.tiling import tiled
from keras_multi import backend
from keras_multi.errors import KerasMultiError

PIXELS_AT_ONCE = 512 * 512  # of small pictures, in a call of the VAE
TILE = 768  # side in pixels, of larger pictures

Source = Any  # a keras.Model, or a function that loads one


class Part:
    """A model and its compiled functions.

    Args:
        source: the model; or a function that loads it, to be called for each
            use, after which the model is freed.
        compiled: makes the compiled functions of the model.
    """

    def __init__(
        self, source: Source, compiled: Callable[[keras.Model], Any]
    ) -> None:
        self._source = source
        self._compiled = compiled
        self._ready: tuple[keras.Model, Any] | None = None
        self._stays = isinstance(source, keras.Model)

    @property
    def model(self) -> keras.Model:
        """The model, which then stays."""
        self._stays = True
        return self._load()[0]

    def change(self, fn: Callable[[Any], Any]) -> None:
        """Changes the model now, or each time that it is loaded.

        Args:
            fn: gives the changed model, which may be the same.
        """
        source = self._source
        if self._stays:
            self._source, self._ready = fn(self._load()[0]), None
        else:
            self._source = lambda: fn(source())

    def run(self, fn: Callable[[Any], Any]) -> Any:
        """Calls a function with the compiled functions of the model."""
        try:
            return fn(self._load()[1])
        finally:
            if not self._stays:
                self._ready = None
                gc.collect()

    def _load(self) -> tuple[keras.Model, Any]:
        if self._ready is None:
            source = self._source
            model = source if isinstance(source, keras.Model) else source()
            self._ready = model, self._compiled(model)
        return self._ready


def text_part(source: Source) -> Part:
    """Makes a part that encodes token ids."""
    return Part(
        source,
        lambda model: backend.bind(model, lambda ids: model(ids), static=True),
    )


def unet_part(source: Source) -> Part:
    """Makes a part that samples."""
    return Part(source, SamplingLoop)


def vae_part(source: Source) -> Part:
    """Makes a part that goes from pictures to latents and back."""
    return Part(source, Codec)


class Codec:
    """Encodes and decodes with a VAE: a few small pictures at once, or tiles.

    Args:
        vae: the model.
    """

    def __init__(self, vae: Any) -> None:
        self._scaling, self._side = vae.scaling_factor, vae.downscale
        self._encode = backend.bind(
            vae, lambda x: vae.encode(x)[0], static=True
        )
        self._decode = backend.bind(vae, vae.decode, static=True)

    def encode(self, pictures: Any) -> Any:
        """Gives the means of the latents, scaled as the UNet wants them.

        Args:
            pictures: float32 `(B, H, W, 3)` in [-1, 1].

        Raises:
            KerasMultiError: if a latent is no finite number.
        """
        tile = TILE // self._side * self._side
        latents = _in_slices(
            lambda x: tiled(self._encode, x, tile, 1, self._side),
            pictures,
            pictures.shape[1] * pictures.shape[2],
        )
        return check_finite(latents * self._scaling, "encoder")

    def decode(self, latents: Any) -> Any:
        """Gives pictures, float32 `(B, H, W, 3)`, about in [-1, 1].

        Args:
            latents: float32 `(B, h, w, C)`, scaled.

        Raises:
            KerasMultiError: if a pixel is no finite number.
        """
        pictures = _in_slices(
            lambda x: tiled(self._decode, x, TILE // self._side, self._side),
            latents / self._scaling,
            latents.shape[1] * latents.shape[2] * self._side**2,
        )
        return check_finite(pictures, "decoder")


def check_finite(x: Any, what: str) -> Any:
    """Gives `x` back.

    Raises:
        KerasMultiError: if something in it is NaN or infinite.
    """
    if not bool(ops.all(ops.isfinite(x))):
        raise KerasMultiError(
            f"the {what} gave numbers that are not finite: float16 ends at "
            "65504. Load the model with dtype='float32' (for the VAE alone: "
            "vae_dtype='float32'), or with 'bfloat16', which goes as far"
        )
    return x


def _in_slices(fn: Callable[[Any], Any], x: Any, pixels: int) -> Any:
    """Calls a function with a few pictures at a time, always as many."""
    batch = x.shape[0]
    size = max(1, min(batch, PIXELS_AT_ONCE // pixels))
    size = 1 << (size.bit_length() - 1)
    results = []
    for first in range(0, batch, size):
        some = x[first : first + size]
        missing = size - some.shape[0]
        if missing:
            some = ops.pad(some, [[0, missing], [0, 0], [0, 0], [0, 0]])
        results.append(ops.cast(fn(some), "float32"))
    return ops.concatenate(results, axis=0)[:batch]
