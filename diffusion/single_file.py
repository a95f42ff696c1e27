"""Stable Diffusion in one safetensors file, named as its authors did.

Such files hold all models side by side: the UNet under
`model.diffusion_model.`, the autoencoder under `first_stage_model.`, the text
encoder under `cond_stage_model.`, that of version 1 named as `transformers`
does and that of version 2 as OpenCLIP does.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffusion.clip import CLIPTextEncoder
from diffusion.folder import Model, is_left_out
from diffusion.names import slots_of
from diffusion.slots import assign
from diffusion.unet import UNet
from diffusion.vae import VAE
from keras_multi.errors import DataError, UsageError
from keras_multi.presets import read_safetensors

PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.",
}
CLASSES: dict[str, type[Model]] = {
    "unet": UNet,
    "vae": VAE,
    "text_encoder": CLIPTextEncoder,
}
OPEN_CLIP = "model."  # after the prefix; in version 1 it is "transformer."
VERSION_2: dict[str, dict[str, Any]] = {
    "unet": {
        "num_heads": (5, 10, 20, 20),
        "context_dim": 1024,
        "linear_projection": True,
    },
    "vae": {},
    "text_encoder": {
        "num_layers": 24,
        "num_heads": 16,
        "hidden_dim": 1024,
        "intermediate_dim": 4096,
        "activation": "gelu",
        "skip_layers": 1,
    },
}
SKIPPED_TEXT = ("text_projection", "logit_scale", "attn_mask")

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_PARTS = (
    ("mid_block.resnets.0.", "mid.block_1."),
    ("mid_block.resnets.1.", "mid.block_2."),
    ("mid_block.attentions.0.", "mid.attn_1."),
    ("attn_1.group_norm.", "attn_1.norm."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    (".to_out.0.", ".proj_out."),
    ("conv_norm_out.", "norm_out."),
    (".conv_shortcut.", ".nin_shortcut."),
    (".resnets.", ".block."),
    (".downsamplers.0.", ".downsample."),
    (".upsamplers.0.", ".upsample."),
)
OPEN_CLIP_LAYERS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def read(path: str | os.PathLike[str], part: str, **changes: Any) -> Any:
    """Reads a model of Stable Diffusion 1 or 2.

    Args:
        path: the file.
        part: `"unet"`, `"vae"` or `"text_encoder"`.
        **changes: arguments of the model that differ from those of the
            version, such as `dtype="bfloat16"`, or `in_channels=9` of an
            inpainting model.

    Returns:
        A `UNet`, a `VAE` or a `CLIPTextEncoder`.

    Raises:
        UsageError: if the changes make no model.
        DataError: if the file is missing, damaged or a pickle, or its tensors
            are not those of the model.
    """
    path = Path(path)
    if path.suffix in (".ckpt", ".pt", ".pth", ".bin"):
        raise DataError(
            f"{path} is a pickle, which can run any program when it is read; "
            "give a safetensors file"
        )
    arrays = read_safetensors(path)
    arguments = dict(VERSION_2[part]) if is_version_2(arrays) else {}
    try:
        model = CLASSES[part](**{**arguments, **changes})
    except (TypeError, ValueError) as error:
        raise UsageError(f"cannot make the model: {error}") from error
    prefix = PREFIXES[part]
    own = {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    try:
        assign(slots_of(model), _renamed(model, own), is_left_out(model))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return model


def is_version_2(arrays: Mapping[str, np.ndarray]) -> bool:
    """Tells whether a file is that of version 2, by its text encoder."""
    prefix = PREFIXES["text_encoder"] + OPEN_CLIP
    return any(name.startswith(prefix) for name in arrays)


def _renamed(
    model: Model, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Gives tensors the names that they have in a diffusers folder."""
    if isinstance(model, CLIPTextEncoder):
        if any(name.startswith(OPEN_CLIP) for name in arrays):
            return _from_open_clip(arrays)
        return {
            name.removeprefix("transformer."): array
            for name, array in arrays.items()
        }
    names = original_names(model)
    return {names.get(name, name): array for name, array in arrays.items()}


def original_names(model: UNet | VAE) -> dict[str, str]:
    """Gives the original names of tensors, and those of diffusers folders."""
    names = slots_of(model)
    if isinstance(model, UNet):
        return {_unet_name(model, name): name for name in names}
    return {_vae_name(model, name): name for name in names}


def _unet_name(unet: UNet, name: str) -> str:
    """Gives the original name of a tensor of the UNet."""
    layer, _, kind = name.rpartition(".")
    if layer in UNET_ENDS:
        return f"{UNET_ENDS[layer]}.{kind}"
    for own, original in _unet_blocks(unet).items():
        if name.startswith(own):
            rest = layer.removeprefix(own)
            return f"{original}{RESNET.get(rest, rest)}.{kind}"
    raise KeyError(name)


def _unet_blocks(unet: UNet) -> dict[str, str]:
    """Gives what names of blocks begin with, here and originally."""
    blocks = {
        "mid_block.resnets.0.": "middle_block.0.",
        "mid_block.attentions.0.": "middle_block.1.",
        "mid_block.resnets.1.": "middle_block.2.",
    }
    n = 1  # The convolution at the entrance is number 0.
    for i, down in enumerate(unet.down_blocks):
        for j in range(len(down.resnets)):
            blocks[f"down_blocks.{i}.resnets.{j}."] = f"input_blocks.{n}.0."
            blocks[f"down_blocks.{i}.attentions.{j}."] = f"input_blocks.{n}.1."
            n += 1
        if down.resample is not None:
            own = f"down_blocks.{i}.downsamplers.0.conv"
            blocks[own] = f"input_blocks.{n}.0.op"
            n += 1
    n = 0
    for i, up in enumerate(unet.up_blocks):
        for j in range(len(up.resnets)):
            blocks[f"up_blocks.{i}.resnets.{j}."] = f"output_blocks.{n}.0."
            blocks[f"up_blocks.{i}.attentions.{j}."] = f"output_blocks.{n}.1."
            n += 1
        if up.resample is not None:
            place = 1 if up.attentions[-1] is None else 2
            own = f"up_blocks.{i}.upsamplers.0.conv"
            blocks[own] = f"output_blocks.{n - 1}.{place}.conv"
    return blocks


def _vae_name(vae: VAE, name: str) -> str:
    """Gives the original name of a tensor of the autoencoder."""
    for own, original in VAE_PARTS:
        name = name.replace(own, original)
    for i in range(len(vae.channels)):
        name = name.replace(f"encoder.down_blocks.{i}.", f"encoder.down.{i}.")
        # The decoder's resolutions are counted from the finest one.
        level = len(vae.channels) - 1 - i
        name = name.replace(f"decoder.up_blocks.{i}.", f"decoder.up.{level}.")
    return name


def _from_open_clip(
    arrays: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    renamed = {}
    for name, array in arrays.items():
        name = name.removeprefix(OPEN_CLIP)
        if name.startswith(SKIPPED_TEXT):
            continue
        if name.startswith("transformer.resblocks."):
            i, _, rest = name.removeprefix("transformer.resblocks.").partition(
                "."
            )
            own = f"text_model.encoder.layers.{i}"
            if rest.startswith("attn.in_proj_"):
                kind = rest.removeprefix("attn.in_proj_")
                for part, piece in zip("qkv", np.split(array, 3), strict=True):
                    renamed[f"{own}.self_attn.{part}_proj.{kind}"] = piece
                continue
            layer, _, kind = rest.rpartition(".")
            name = f"{own}.{OPEN_CLIP_LAYERS.get(layer, layer)}.{kind}"
        elif name == "positional_embedding":
            name = "text_model.embeddings.position_embedding.weight"
        elif name == "token_embedding.weight":
            name = "text_model.embeddings.token_embedding.weight"
        elif name.startswith("ln_final."):
            name = name.replace("ln_final", "text_model.final_layer_norm")
        renamed[name] = array
    return renamed
