"""Text to image: Stable Diffusion, its models and samplers."""

import importlib
from typing import Any

_HOMES = {
    "CLIPTextEncoder": "diffusion.clip",
    "CLIPTokenizer": "diffusion.tokenizer",
    "StableDiffusion": "diffusion.stable_diffusion",
    "UNet": "diffusion.unet",
    "VAE": "diffusion.vae",
}

__all__ = ["VAE", "CLIPTextEncoder", "CLIPTokenizer", "StableDiffusion", "UNet"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
