"""Stable Diffusion of `diffusers`: plain PyTorch, so it needs its tensors."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

Draw = Callable[[str, tuple[int, ...]], np.ndarray]
Call = Callable[..., np.ndarray]


def unet(config: Mapping[str, Any], draw: Draw, precision: str) -> Call:
    """Makes a UNet, as a function of arrays with the channels last.

    Args:
        config: its configuration.
        draw: gives each weight, by name and shape.
        precision: `"float32"`, `"bfloat16"` or `"mixed_bfloat16"`.

    Returns:
        From latents, time steps and contexts to the noise.
    """
    model = _filled(diffusers.UNet2DConditionModel, config, draw, precision)

    @_inference(precision)
    def call(
        latents: np.ndarray, timesteps: np.ndarray, context: np.ndarray
    ) -> np.ndarray:
        return _channels_last(
            model(
                _channels_first(latents, model.dtype),
                torch.from_numpy(timesteps),
                torch.from_numpy(context).to(model.dtype),
            ).sample
        )

    return call


def decoder(config: Mapping[str, Any], draw: Draw, precision: str) -> Call:
    """Makes an autoencoder's decoder, as a function of scaled latents.

    Its arguments are those of `unet`.
    """
    model = _filled(diffusers.AutoencoderKL, config, draw, precision)
    factor = model.config.scaling_factor

    @_inference(precision)
    def call(latents: np.ndarray) -> np.ndarray:
        x = _channels_first(latents, model.dtype)
        return _channels_last(model.decode(x / factor).sample)

    return call


def text_to_image(folder: Path, precision: str, **options: Any) -> Call:
    """Reads a pipeline, as a function of a prompt and noise.

    Args:
        folder: of the pipeline.
        precision: `"float32"` or `"bfloat16"`.
        **options: of its call.

    Returns:
        From a text and noise `(B, h, w, C)` to pictures `(B, H, W, 3)` in
        [0, 255].
    """
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        folder, dtype=getattr(torch, precision)
    )
    pipeline.set_progress_bar_config(disable=True)

    @torch.inference_mode()
    def call(prompt: str, noise: np.ndarray) -> np.ndarray:
        pictures = pipeline(
            prompt,
            num_images_per_prompt=len(noise),
            latents=_channels_first(noise, pipeline.unet.dtype),
            output_type="np",
            **options,
        ).images
        return np.asarray(pictures) * 255

    return call


def _filled(
    kind: Any, config: Mapping[str, Any], draw: Draw, precision: str
) -> Any:
    with torch.device("meta"):
        model = kind.from_config(dict(config))
    model = model.to_empty(device="cpu").eval()
    if precision == "bfloat16":
        model = model.to(torch.bfloat16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            numbers = draw(name, tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(numbers))
    return model


@contextlib.contextmanager
def _inference(precision: str) -> Any:
    mixed = precision == "mixed_bfloat16"
    cast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed)
    with torch.inference_mode(), cast:
        yield


def _channels_first(x: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2).to(dtype)


def _channels_last(x: torch.Tensor) -> np.ndarray:
    return x.float().permute(0, 2, 3, 1).numpy()
