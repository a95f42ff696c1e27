"""Weights of the Stable Diffusion of KerasCV, in h5 files.

Such a file keeps the layouts of Keras, and its weights have no names that
tell where they belong: they stand in the order of the layers.
"""

import os
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from diffusion.attention import Attention, SpatialTransformer
from diffusion.blocks import ResnetBlock
from diffusion.clip import CLIPTextEncoder
from diffusion.unet import UNet
from diffusion.vae import Decoder, Encoder, Middle
from keras_multi.errors import DataError

Part = UNet | CLIPTextEncoder | Encoder | Decoder
# A variable, and which of its columns; all if `None`.
Place = tuple[keras.Variable, slice | None]
Layers = Iterator[keras.layers.Layer]


def load(path: str | os.PathLike[str], model: Part) -> None:
    """Gives a model the weights of a file of KerasCV.

    Args:
        path: the file, such as `kcv_diffusion_model.h5`, `kcv_encoder.h5`,
            `kcv_decoder.h5` or `vae_encoder.h5`.
        model: a `UNet`, a `CLIPTextEncoder`, or the `encoder` or the
            `decoder` of a `VAE`, built.

    Raises:
        DataError: if the file is missing or damaged, or holds other weights
            than the model has. The model is unchanged then.

    Example:
        vae = VAE()
        vae.build()
        keras_cv.load("kcv_decoder.h5", vae.decoder)
    """
    named = _read(path)
    found = list(places(model))
    if len(named) != len(found):
        raise DataError(
            f"{path} holds {len(named)} weights and the model {len(found)}"
        )
    values = []
    for (name, array), (variable, columns) in zip(named, found, strict=True):
        shape = tuple(variable.shape)
        if columns is not None:
            shape = (*shape[:-1], columns.stop - columns.start)
        # A convolution of size 1 is a matrix here.
        if array.shape not in (shape, (1, 1, *shape)):
            raise DataError(
                f"{path}: {name} has the shape {array.shape} and the model "
                f"{shape}"
            )
        values.append(array.reshape(shape))
    parts: dict[int, list[np.ndarray]] = {}
    for (variable, _), value in zip(found, values, strict=True):
        parts.setdefault(id(variable), []).append(value)
    for variable in {id(v): v for v, _ in found}.values():
        variable.assign(np.concatenate(parts[id(variable)], -1))


def _read(path: str | os.PathLike[str]) -> list[tuple[str, np.ndarray]]:
    """Reads names and weights in the order of the layers."""
    import h5py

    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            return [
                (name, np.asarray(group[layer][name]))
                for layer in _names(group, "layer_names")
                for name in _names(group[layer], "weight_names")
            ]
    except (OSError, KeyError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _names(group: Any, key: str) -> list[str]:
    """Reads a list of names, which long ones keep in pieces."""
    pieces = [group.attrs[key]] if key in group.attrs else []
    while f"{key}{len(pieces)}" in group.attrs:
        pieces.append(group.attrs[f"{key}{len(pieces)}"])
    if not pieces:
        raise KeyError(f"it has no {key}")
    return [
        name.decode() if isinstance(name, bytes) else str(name)
        for piece in pieces
        for name in piece
    ]


def places(model: Part) -> Iterator[Place]:
    """Gives the variables of a model in the order of such a file."""
    if isinstance(model, CLIPTextEncoder):
        yield from _text_places(model)
        return
    if isinstance(model, UNet):
        layers = _unet(model)
    elif isinstance(model, Encoder):
        layers = _encoder(model)
    else:
        layers = _decoder(model)
    for layer in layers:
        for variable in layer.variables:
            yield variable, None


def _unet(unet: UNet) -> Layers:
    # In the order of their depth in the graph.
    yield from (unet.time_in, unet.conv_in, unet.time_out)
    for down in unet.down_blocks:
        yield from _stages(down.resnets, down.attentions)
        if down.resample is not None:
            yield down.resample.conv
    first, transformer, second = unet.middle
    yield from _stages((first, second), (transformer, None))
    for up in unet.up_blocks:
        yield from _stages(up.resnets, up.attentions)
        if up.resample is not None:
            yield up.resample.conv
    yield from (unet.norm_out, unet.conv_out)


def _stages(resnets: Any, attentions: Any) -> Layers:
    for resnet, attention in zip(resnets, attentions, strict=True):
        yield from _resnet(resnet)
        if attention is not None:
            yield from _transformer(attention)


def _resnet(block: ResnetBlock) -> Layers:
    for layer in (
        block.norm1,
        block.conv1,
        block.time_projection,
        block.norm2,
        block.conv2,
        block.shortcut,
    ):
        if layer is not None:
            yield layer


def _transformer(block: SpatialTransformer) -> Layers:
    yield from (block.norm, block.project_in)
    for layer in block.layers:
        yield layer.norm1
        yield from _attention(layer.self_attention)
        yield layer.norm2
        yield from _attention(layer.cross_attention)
        yield from (layer.norm3, layer.expand, layer.contract)
    yield block.project_out


def _attention(attention: Attention) -> Layers:
    yield from (attention.query, attention.key, attention.value)
    yield attention.output_dense


def _middle(middle: Middle) -> Layers:
    yield from _resnet(middle.first)
    if middle.attends:
        yield middle.norm
        yield from _attention(middle.attention)
    yield from _resnet(middle.second)


def _encoder(encoder: Encoder) -> Layers:
    yield encoder.conv_in
    yield from _resampled(encoder)
    yield from _middle(encoder.middle)
    yield from (encoder.norm_out, encoder.conv_out, encoder.project_out)


def _decoder(decoder: Decoder) -> Layers:
    yield from (decoder.project_in, decoder.conv_in)
    yield from _middle(decoder.middle)
    yield from _resampled(decoder)
    yield from (decoder.norm_out, decoder.conv_out)


def _resampled(half: Encoder | Decoder) -> Layers:
    for stage in half.blocks:
        for resnet in stage.resnets:
            yield from _resnet(resnet)
        if stage.resample is not None:
            yield stage.resample.conv


def _text_places(model: CLIPTextEncoder) -> Iterator[Place]:
    yield model.tokens.embeddings, None
    yield model.positions.embeddings, None
    dim = model.hidden_dim
    for block in model.blocks:
        for variable in block.attention_norm.variables:
            yield variable, None
        for i in range(3):  # queries, keys, values
            for variable in block.attention.qkv.variables:
                yield variable, slice(i * dim, (i + 1) * dim)
        for layer in (
            block.attention.output_dense,
            block.mlp_norm,
            block.expand,
            block.contract,
        ):
            for variable in layer.variables:
                yield variable, None
    for variable in model.norm.variables:
        yield variable, None
