"""Stable Diffusion: pictures of prompts."""

import os
from typing import Any

import numpy as np
from keras import ops

from diffusion.components import Components, Texts, as_list
from diffusion.latents import guided, sample
from diffusion.options import Options
from diffusion.pixels import shrink, to_bytes, to_floats, to_mask
from diffusion.sampling import SamplingLoop
from keras_multi.errors import UsageError


class StableDiffusion(Components):
    """Makes pictures of prompts, and changes pictures by prompts.

    Rombach et al. 2022, "High-Resolution Image Synthesis with Latent
    Diffusion Models". A text encoder reads the prompt, a UNet takes noise
    away from latents step by step, and the decoder of a VAE makes a picture
    of them.

    Its arguments are those of `Components`.

    Example:
        >>> from diffusion import UNet, VAE, CLIPTextEncoder
        >>> from diffusion.tokenizer import CLIPTokenizer
        >>> pipeline = StableDiffusion(
        ...     CLIPTextEncoder(5, 1, 1, 4, 8, max_length=6),
        ...     UNet(channels=(4,), attention=(True,), num_heads=1,
        ...         context_dim=4, norm_groups=2),
        ...     VAE(channels=(4,), norm_groups=2, patch_size=8),
        ...     CLIPTokenizer.from_words(["red", "apple"], max_length=6),
        ... )
        >>> pipeline.text_to_image("a red apple", batch_size=3, num_steps=2,
        ...     img_height=32, img_width=48).shape
        (3, 32, 48, 3)
    """

    @classmethod
    def from_preset(
        cls, preset: str | os.PathLike[str], **kwargs: Any
    ) -> "StableDiffusion":
        """Loads a pipeline; see `diffusion.preset.load`."""
        from diffusion.preset import load

        return load(preset, **kwargs)

    def save_to_preset(
        self, path: str | os.PathLike[str], dtype: str = "float32"
    ) -> None:
        """Writes the pipeline into a folder; see `diffusion.preset.save`."""
        from diffusion.preset import save

        save(path, self, dtype)

    def text_to_image(
        self,
        prompt: Texts,
        negative_prompt: Texts | None = None,
        batch_size: int = 1,
        img_height: int | None = None,
        img_width: int | None = None,
        **options: Any,
    ) -> np.ndarray:
        """Makes pictures of a prompt.

        Args:
            prompt: a text, or several. `(word:1.2)` in it weighs more; it
                may be longer than the context of the text encoder.
            negative_prompt: what not to show; one text, or as many.
            batch_size: number of pictures of each prompt.
            img_height: height in pixels.
            img_width: width in pixels.
            **options: see `Options`.

        Returns:
            uint8 `(pictures, H, W, 3)`, those of the first prompt first.

        Raises:
            UsageError: if an argument is out of range.
            KerasMultiError: if a model gives NaN.
        """
        prompts = as_list(prompt)
        context, negative = self._contexts(
            prompts, negative_prompt, Options.of(options)
        )
        return self.generate_image(
            context, negative, batch_size, img_height, img_width, **options
        )

    def generate_image(
        self,
        context: Any,
        negative_context: Any = None,
        batch_size: int = 1,
        img_height: int | None = None,
        img_width: int | None = None,
        noise: Any = None,
        **options: Any,
    ) -> np.ndarray:
        """Makes pictures of encoded prompts.

        Args:
            context: float `(B, T, D)`, of `encode_text` or between some.
            negative_context: the same for what not to show; that of the
                empty prompt by default.
            batch_size: number of pictures of each prompt.
            img_height: height in pixels.
            img_width: width in pixels.
            noise: standard normal `(pictures, h, w, C)` to start from, in
                place of a draw with the seed.
            **options: see `Options`.

        Returns:
            uint8 `(pictures, H, W, 3)`, those of the first prompt first.

        Raises:
            UsageError: if an argument is out of range.
            KerasMultiError: if a model gives NaN.
        """
        size = (
            self.image_size[0] if img_height is None else img_height,
            self.image_size[1] if img_width is None else img_width,
        )
        latents = self._sample(
            context,
            negative_context,
            batch_size,
            size,
            Options.of(options),
            noise=noise,
        )
        return self.decode(latents)

    def image_to_image(
        self,
        images: Any,
        prompt: Texts,
        negative_prompt: Texts | None = None,
        strength: float = 0.8,
        batch_size: int = 1,
        **options: Any,
    ) -> np.ndarray:
        """Changes pictures by a prompt.

        They get some noise, which is then taken away again (Meng et al.
        2022, "SDEdit", section 3.1).

        Args:
            images: uint8 `(H, W, 3)` or `(B, H, W, 3)`.
            prompt: a text, or one for each image.
            negative_prompt: what not to show; one text, or as many.
            strength: share of the steps that are taken: 0 gives what the VAE
                makes of the image, 1 does not look at it.
            batch_size: number of pictures of each.
            **options: see `Options`.

        Returns:
            uint8 `(pictures, H, W, 3)`.

        Raises:
            UsageError: if an argument is out of range.
            KerasMultiError: if a model gives NaN.
        """
        floats = to_floats(images)
        latents = self._resample(
            floats,
            None,
            prompt,
            negative_prompt,
            strength,
            batch_size,
            Options.of(options),
        )
        return self.decode(latents)

    def inpaint(
        self,
        images: Any,
        masks: Any,
        prompt: Texts,
        negative_prompt: Texts | None = None,
        strength: float = 1.0,
        batch_size: int = 1,
        **options: Any,
    ) -> np.ndarray:
        """Paints a part of pictures anew; the other pixels stay as they are.

        After each step the latents outside the mask are replaced by those of
        the picture with as much noise (Lugmayr et al. 2022, "RePaint",
        equation 8).

        Args:
            images: uint8 `(H, W, 3)` or `(B, H, W, 3)`.
            masks: of the same height and width, `(H, W)` or `(B, H, W)`:
                true, or white, where something new is to be.
            prompt: a text, or one for each image.
            negative_prompt: what not to show; one text, or as many.
            strength: share of the steps that are taken.
            batch_size: number of pictures of each.
            **options: see `Options`.

        Returns:
            uint8 `(pictures, H, W, 3)`.

        Raises:
            UsageError: if an argument is out of range.
            KerasMultiError: if a model gives NaN.
        """
        floats = to_floats(images)
        mask = to_mask(masks, floats.shape)
        latents = self._resample(
            floats,
            mask,
            prompt,
            negative_prompt,
            strength,
            batch_size,
            Options.of(options),
        )
        pictures = self.decode(latents)
        times = len(pictures) // len(floats)
        mask, floats = (np.repeat(x, times, axis=0) for x in (mask, floats))
        return np.where(mask, pictures, to_bytes(floats))

    def _contexts(
        self, prompts: list[str], negative: Texts | None, options: Options
    ) -> tuple[Any, Any]:
        """Encodes prompts, and what not to show if there is guidance."""
        if not options.guides:
            return self.encode_text(prompts), None
        negatives = as_list("" if negative is None else negative)
        if len(negatives) not in (1, len(prompts)):
            raise UsageError(
                "there must be one negative prompt, or as many as prompts. "
                f"Received: {len(negatives)} and {len(prompts)}"
            )
        both = self.encode_text([*prompts, *negatives])
        return both[: len(prompts)], both[len(prompts) :]

    def _resample(
        self,
        images: np.ndarray,
        mask: np.ndarray | None,
        prompt: Texts,
        negative_prompt: Texts | None,
        strength: float,
        batch_size: int,
        options: Options,
    ) -> Any:
        """Samples from pictures with noise.

        Args:
            images: float32 `(B, H, W, 3)` in [-1, 1].
            mask: bool `(B, H, W, 1)` of what is to be new; `None` for all.
            prompt: see `inpaint`, as the others.
            negative_prompt: what not to show.
            strength: share of the steps that are taken.
            batch_size: number of pictures of each.
            options: how to sample.

        Returns:
            Latents `(B * batch_size, h, w, C)`.
        """
        if not 0 <= strength <= 1:
            raise UsageError(
                f"strength must lie in [0, 1]. Received: {strength}"
            )
        prompts = as_list(prompt)
        if len(prompts) == 1:
            prompts *= len(images)
        if len(images) != len(prompts):
            raise UsageError(
                "there must be one prompt, or as many as images. "
                f"Received: {len(prompts)} and {len(images)}"
            )
        size = images.shape[1:3]
        if any(side % self.downscale for side in size):
            raise UsageError(
                f"height and width of images must be multiples of "
                f"{self.downscale}. Received: {size[0]} x {size[1]}"
            )
        pixels = ops.convert_to_tensor(images)
        clean = self._vae.run(lambda codec: codec.encode(pixels))
        clean = np.repeat(ops.convert_to_numpy(clean), batch_size, axis=0)
        if int(options.num_steps * strength) == 0:
            return ops.convert_to_tensor(clean)
        if mask is not None:
            mask = np.repeat(shrink(mask, self.downscale), batch_size, axis=0)
        context, negative = self._contexts(prompts, negative_prompt, options)
        return self._sample(
            context,
            negative,
            batch_size,
            size,
            options,
            strength=strength,
            clean=clean,
            mask=mask,
        )

    def _sample(
        self,
        context: Any,
        negative: Any,
        batch_size: int,
        size: tuple[int, ...],
        options: Options,
        **start: Any,
    ) -> Any:
        """Samples latents.

        Args:
            context: float `(B, T, D)`.
            negative: the same for what not to show, or `None`.
            batch_size: number of pictures of each prompt.
            size: height and width of the pictures.
            options: how to sample.
            **start: what to start from, see `latents.sample`.

        Returns:
            float32 `(pictures, h, w, C)`.
        """
        if batch_size < 1:
            raise UsageError(
                f"batch_size must be at least 1. Received: {batch_size}"
            )
        if options.guides and negative is None:
            empty = self.encode_text("")
            chunks = context.shape[1] // empty.shape[1]
            negative = ops.tile(empty, (1, chunks, 1))
        contexts = guided(context, negative, batch_size, options)
        count = len(context) * batch_size

        def run(loop: SamplingLoop) -> Any:
            multiple = self.downscale * loop.unet.size_multiple
            if any(side < 1 or side % multiple for side in size):
                raise UsageError(
                    f"height and width must be multiples of {multiple}. "
                    f"Received: {size[0]} x {size[1]}"
                )
            latent = tuple(side // self.downscale for side in size)
            shape = count, *latent, loop.unet.in_channels
            return sample(
                loop,
                self.schedule,
                shape,
                contexts,
                len(context),
                options,
                **start,
            )

        return self._unet.run(run)
