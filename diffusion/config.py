"""Configurations as `diffusers` and `transformers` write them."""

from collections.abc import Mapping
from typing import Any

from diffusion.clip import CLIPTextEncoder
from diffusion.unet import UNet
from diffusion.vae import VAE
from keras_multi.errors import DataError

# Field of `config.json`, argument of our class, value of the field by default.
Fields = tuple[tuple[str, str, Any], ...]

UNET: Fields = (
    ("in_channels", "in_channels", 4),
    ("out_channels", "out_channels", 4),
    ("block_out_channels", "channels", (320, 640, 1280, 1280)),
    ("layers_per_block", "layers_per_block", 2),
    ("attention_head_dim", "num_heads", 8),
    ("cross_attention_dim", "context_dim", 1280),
    ("transformer_layers_per_block", "transformer_layers", 1),
    ("use_linear_projection", "linear_projection", False),
    ("norm_num_groups", "norm_groups", 32),
    ("patch_size", "patch_size", 1),  # of our own
)
VAE_FIELDS: Fields = (
    ("latent_channels", "latent_channels", 4),
    ("block_out_channels", "channels", (64,)),
    ("layers_per_block", "layers_per_block", 1),
    ("scaling_factor", "scaling_factor", 0.18215),
    ("norm_num_groups", "norm_groups", 32),
    ("mid_block_add_attention", "middle_attention", True),
    ("patch_size", "patch_size", 1),  # of our own
)
TEXT: Fields = (
    ("vocab_size", "vocabulary_size", 49408),
    ("num_hidden_layers", "num_layers", 12),
    ("num_attention_heads", "num_heads", 8),
    ("hidden_size", "hidden_dim", 512),
    ("intermediate_size", "intermediate_dim", 2048),
    ("max_position_embeddings", "max_length", 77),
    ("hidden_act", "activation", "quick_gelu"),
    ("layer_norm_eps", "epsilon", 1e-5),
)
# Fields that change the computation, and the only values that are known.
UNET_FIXED = {
    "act_fn": ("silu",),
    "addition_embed_type": (None,),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "conv_in_kernel": (3,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "norm_eps": (1e-5,),
    "num_attention_heads": (None,),
    "only_cross_attention": (False,),
    "resnet_time_scale_shift": ("default",),
    "time_cond_proj_dim": (None,),
    "time_embedding_type": ("positional",),
}
VAE_FIXED = {
    "act_fn": ("silu",),
    "in_channels": (3,),
    "out_channels": (3,),
    "shift_factor": (None,),
    "use_post_quant_conv": (True,),
    "use_quant_conv": (True,),
}
ATTENTION = {
    ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"): True,
    ("DownBlock2D", "UpBlock2D"): False,
}


def unet_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the arguments of `UNet`.

    Raises:
        DataError: if the configuration asks for what it does not know.
    """
    _check(config, "_class_name", "UNet2DConditionModel", UNET_FIXED)
    kinds = list(
        zip(
            config.get("down_block_types", ()),
            reversed(config.get("up_block_types", ())),
            strict=False,
        )
    )
    if unknown := [kind for kind in kinds if kind not in ATTENTION]:
        raise DataError(f"it has blocks that are not known: {unknown[0]}")
    return {
        **_arguments(config, UNET),
        "attention": tuple(ATTENTION[kind] for kind in kinds),
    }


def vae_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the arguments of `VAE`.

    Raises:
        DataError: if the configuration asks for what it does not know.
    """
    _check(config, "_class_name", "AutoencoderKL", VAE_FIXED)
    return _arguments(config, VAE_FIELDS)


def text_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the arguments of `CLIPTextEncoder`.

    Raises:
        DataError: if the configuration is that of another model.
    """
    _check(config, "model_type", "clip_text_model", {})
    return _arguments(config, TEXT)


def config_of(model: UNet | VAE | CLIPTextEncoder) -> dict[str, Any]:
    """Gives the configuration of a model."""
    own = model.get_config()
    if isinstance(model, CLIPTextEncoder):
        return {
            "architectures": ["CLIPTextModel"],
            "model_type": "clip_text_model",
            "dtype": "float32",
            **_fields(own, TEXT),
            # Skipped layers have no weights, and so none in the file.
            "num_hidden_layers": len(model.blocks),
        }
    if isinstance(model, VAE):
        levels = len(model.channels)
        return {
            "_class_name": "AutoencoderKL",
            **_fields(own, VAE_FIELDS),
            **{field: values[0] for field, values in VAE_FIXED.items()},
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
        }
    names = {attends: kinds for kinds, attends in ATTENTION.items()}
    kinds = [names[bool(attends)] for attends in model.attention]
    return {
        "_class_name": "UNet2DConditionModel",
        **_fields(own, UNET),
        **{field: values[0] for field, values in UNET_FIXED.items()},
        "down_block_types": [down for down, _ in kinds],
        "up_block_types": [up for _, up in reversed(kinds)],
    }


def _check(
    config: Mapping[str, Any],
    kind: str,
    expected: str,
    fixed: Mapping[str, tuple[Any, ...]],
) -> None:
    if config.get(kind) != expected:
        raise DataError(
            f"it describes a {config.get(kind)!r}, not a {expected}"
        )
    for field, values in fixed.items():
        if config.get(field, values[0]) not in values:
            raise DataError(
                f"it asks for {field}={config[field]!r}, which is not known; "
                f"known is {values[0]!r}"
            )


def _arguments(config: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    return {
        argument: config.get(field, default)
        for field, argument, default in fields
    }


def _fields(own: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    return {field: own[argument] for field, argument, _ in fields}
