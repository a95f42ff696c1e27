"""What `diffusers` and `transformers` call the weights of the models."""

import re
from collections.abc import Iterator

import keras

from diffusion.attention import Attention, SpatialTransformer, TransformerLayer
from diffusion.blocks import ResnetBlock
from diffusion.clip import CLIPTextEncoder
from diffusion.slots import Slot, Slots, of_layers
from diffusion.unet import UNet
from diffusion.unet_blocks import DownBlock, UpBlock
from diffusion.vae import VAE, Decoder, Encoder, Middle

Named = Iterator[tuple[str, keras.layers.Layer]]

# Matrices that files keep as convolutions of size 1.
POINTWISE = re.compile(r"conv_shortcut|quant_conv")
PROJECTION = re.compile(r"proj_(in|out)$")
# The autoencoder's attention until 2022, and its names since.
OLD_ATTENTION = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}


def slots_of(model: UNet | VAE | CLIPTextEncoder) -> Slots:
    """Gives where each tensor of a file of `diffusers` stands in a model.

    Args:
        model: the model; it is built.
    """
    model.build()
    if isinstance(model, CLIPTextEncoder):
        return _clip(model)
    if isinstance(model, VAE):
        layers = dict(_vae(model))
        pointwise = [name for name in layers if POINTWISE.search(name)]
    else:
        layers = dict(_unet(model))
        pointwise = [
            name
            for name in layers
            if POINTWISE.search(name)
            or (PROJECTION.search(name) and not model.linear_projection)
        ]
    return of_layers(layers, pointwise)


def modern(name: str) -> str:
    """Gives the name of today of a tensor of a diffusers file.

    `transformers` has left out `text_model.` since version 5, and the
    attention of the autoencoder has been renamed.
    """
    if name.startswith(("embeddings.", "encoder.layers.", "final_layer_")):
        return f"text_model.{name}"
    head, _, last = name.rpartition(".")
    before, _, layer = head.rpartition(".")
    if layer in OLD_ATTENTION and before.endswith("attentions.0"):
        return f"{before}.{OLD_ATTENTION[layer]}.{last}"
    return name


def _unet(unet: UNet) -> Named:
    yield "conv_in", unet.conv_in
    yield "time_embedding.linear_1", unet.time_in
    yield "time_embedding.linear_2", unet.time_out
    for i, down in enumerate(unet.down_blocks):
        yield from _level(f"down_blocks.{i}", down, "downsamplers")
    first, transformer, second = unet.middle
    yield from _resnet("mid_block.resnets.0", first)
    yield from _transformer("mid_block.attentions.0", transformer)
    yield from _resnet("mid_block.resnets.1", second)
    for i, up in enumerate(unet.up_blocks):
        yield from _level(f"up_blocks.{i}", up, "upsamplers")
    yield "conv_norm_out", unet.norm_out
    yield "conv_out", unet.conv_out


def _level(name: str, block: DownBlock | UpBlock, resample: str) -> Named:
    for j, resnet in enumerate(block.resnets):
        yield from _resnet(f"{name}.resnets.{j}", resnet)
    for j, attention in enumerate(block.attentions):
        if attention is not None:
            yield from _transformer(f"{name}.attentions.{j}", attention)
    if block.resample is not None:
        yield f"{name}.{resample}.0.conv", block.resample.conv


def _resnet(name: str, block: ResnetBlock) -> Named:
    yield f"{name}.norm1", block.norm1
    yield f"{name}.conv1", block.conv1
    if block.time_projection is not None:
        yield f"{name}.time_emb_proj", block.time_projection
    yield f"{name}.norm2", block.norm2
    yield f"{name}.conv2", block.conv2
    if block.shortcut is not None:
        yield f"{name}.conv_shortcut", block.shortcut


def _transformer(name: str, block: SpatialTransformer) -> Named:
    yield f"{name}.norm", block.norm
    yield f"{name}.proj_in", block.project_in
    for k, layer in enumerate(block.layers):
        yield from _transformer_layer(f"{name}.transformer_blocks.{k}", layer)
    yield f"{name}.proj_out", block.project_out


def _transformer_layer(name: str, layer: TransformerLayer) -> Named:
    yield f"{name}.norm1", layer.norm1
    yield from _attention(f"{name}.attn1", layer.self_attention)
    yield f"{name}.norm2", layer.norm2
    yield from _attention(f"{name}.attn2", layer.cross_attention)
    yield f"{name}.norm3", layer.norm3
    yield f"{name}.ff.net.0.proj", layer.expand
    yield f"{name}.ff.net.2", layer.contract


def _attention(name: str, attention: Attention) -> Named:
    yield f"{name}.to_q", attention.query
    yield f"{name}.to_k", attention.key
    yield f"{name}.to_v", attention.value
    yield f"{name}.to_out.0", attention.output_dense


def _vae(vae: VAE) -> Named:
    yield from _half("encoder", vae.encoder, "down_blocks", "downsamplers")
    yield "quant_conv", vae.encoder.project_out
    yield "post_quant_conv", vae.decoder.project_in
    yield from _half("decoder", vae.decoder, "up_blocks", "upsamplers")


def _half(
    name: str, half: Encoder | Decoder, blocks: str, resample: str
) -> Named:
    yield f"{name}.conv_in", half.conv_in
    for i, stage in enumerate(half.blocks):
        for j, resnet in enumerate(stage.resnets):
            yield from _resnet(f"{name}.{blocks}.{i}.resnets.{j}", resnet)
        if stage.resample is not None:
            yield f"{name}.{blocks}.{i}.{resample}.0.conv", stage.resample.conv
    yield from _middle(f"{name}.mid_block", half.middle)
    yield f"{name}.conv_norm_out", half.norm_out
    yield f"{name}.conv_out", half.conv_out


def _middle(name: str, middle: Middle) -> Named:
    yield from _resnet(f"{name}.resnets.0", middle.first)
    if middle.attends:
        yield f"{name}.attentions.0.group_norm", middle.norm
        yield from _attention(f"{name}.attentions.0", middle.attention)
    yield from _resnet(f"{name}.resnets.1", middle.second)


def _clip(model: CLIPTextEncoder) -> Slots:
    layers = {
        "embeddings.token_embedding": model.tokens,
        "embeddings.position_embedding": model.positions,
    }
    slots: Slots = {}
    for i, block in enumerate(model.blocks):
        name = f"encoder.layers.{i}"
        layers |= {
            f"{name}.layer_norm1": block.attention_norm,
            f"{name}.self_attn.out_proj": block.attention.output_dense,
            f"{name}.layer_norm2": block.mlp_norm,
            f"{name}.mlp.fc1": block.expand,
            f"{name}.mlp.fc2": block.contract,
        }
        dim = model.hidden_dim
        for j, part in enumerate("qkv"):
            for end, variable in zip(
                ("weight", "bias"), block.attention.qkv.variables, strict=True
            ):
                slots[f"{name}.self_attn.{part}_proj.{end}"] = Slot(
                    variable, columns=(j * dim, (j + 1) * dim)
                )
    layers["final_layer_norm"] = model.norm
    slots |= of_layers(layers)
    return {f"text_model.{name}": slot for name, slot in slots.items()}
