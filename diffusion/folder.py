"""The models of a folder as the `diffusers` library writes it.

`unet`, `vae` and `text_encoder` are folders with a `config.json` and weights
in safetensors. What is written here can be read there, and the other way
round. Nothing is ever unpickled.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diffusion.clip import CLIPTextEncoder
from diffusion.config import (
    config_of,
    text_arguments,
    unet_arguments,
    vae_arguments,
)
from diffusion.names import modern, slots_of
from diffusion.slots import Slot, assign
from diffusion.unet import UNet
from diffusion.vae import VAE
from keras_multi.errors import DataError, UsageError
from keras_multi.files import prepare_folder, read_json, write_json
from keras_multi.presets import read_safetensors, write_safetensors

Model = UNet | VAE | CLIPTextEncoder

CONFIG = "config.json"
WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
CLASSES: dict[str, tuple[type[Model], Callable[..., dict[str, Any]]]] = {
    "unet": (UNet, unet_arguments),
    "vae": (VAE, vae_arguments),
    "text_encoder": (CLIPTextEncoder, text_arguments),
}
PICKLES = ("*.bin", "*.ckpt", "*.pt", "*.pth")


def read(folder: str | os.PathLike[str], part: str, **changes: Any) -> Any:
    """Reads a model of a folder.

    Args:
        folder: the folder of the pipeline.
        part: `"unet"`, `"vae"` or `"text_encoder"`.
        **changes: arguments of the model that differ from its configuration,
            such as `dtype="bfloat16"`.

    Returns:
        A `UNet`, a `VAE` or a `CLIPTextEncoder`.

    Raises:
        UsageError: if the changes make no model.
        DataError: if a file is missing or damaged, or is that of another
            model, or the files do not fit together.
    """
    path = Path(folder) / part
    if not (path / CONFIG).is_file():
        raise DataError(
            f"there is no {path / CONFIG}; give the folder of a diffusers "
            "pipeline"
        )
    model_class, arguments_of = CLASSES[part]
    try:
        arguments = arguments_of(read_json(path / CONFIG))
        model = model_class(**{**arguments, **changes})
    except (TypeError, ValueError) as error:
        if changes and not isinstance(error, DataError):
            raise UsageError(f"cannot make the model: {error}") from error
        raise DataError(f"{path / CONFIG} cannot be used: {error}") from error
    weights = _find(path, WEIGHTS[part])
    arrays = {
        modern(name): array for name, array in read_safetensors(weights).items()
    }
    try:
        assign(slots_of(model), arrays, is_left_out(model))
    except DataError as error:
        raise DataError(f"{weights}: {error}") from error
    return model


def is_left_out(model: Model) -> Callable[[str], bool]:
    """Gives a function that tells which tensors a model does not need."""
    if not isinstance(model, CLIPTextEncoder):
        return lambda name: False
    skipped = tuple(
        f"text_model.encoder.layers.{i}."
        for i in range(len(model.blocks), model.num_layers)
    )
    return lambda name: name.startswith(
        ("text_model.embeddings.position_ids", "text_projection", *skipped)
    )


def _find(path: Path, stem: str) -> Path:
    """Gives the file of the weights, in half precision if there is no other."""
    for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
        if (path / name).is_file():
            return path / name
    if pickles := [file for kind in PICKLES for file in path.glob(kind)]:
        raise DataError(
            f"{pickles[0]} is a pickle, which can run any program when it is "
            "read; give the weights as safetensors"
        )
    raise DataError(f"there is no {path / stem}.safetensors")


def write(
    folder: str | os.PathLike[str],
    part: str,
    model: Model,
    dtype: str = "float32",
) -> None:
    """Writes a model into a folder.

    Args:
        folder: the folder of the pipeline; made if it is not there.
        part: `"unet"`, `"vae"` or `"text_encoder"`.
        model: the model.
        dtype: what its weights are written as, `"float32"` or `"float16"`.

    Raises:
        KerasMultiError: if the folder cannot be written.
    """
    path = prepare_folder(Path(folder) / part)
    # `config.json` comes last: it says that the folder is complete.
    (path / CONFIG).unlink(missing_ok=True)
    arrays = {
        name: _written(slot, dtype) for name, slot in slots_of(model).items()
    }
    file = f"{WEIGHTS[part]}.safetensors"
    write_safetensors(path / file, arrays, {"format": "pt"})
    write_json(path / CONFIG, config_of(model))


def _written(slot: Slot, dtype: str) -> np.ndarray:
    return slot.read().astype(dtype)
