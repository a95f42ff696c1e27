import numpy as np
import pytest
import torch
from diffusers.loaders import single_file_utils
from safetensors.torch import save_file

from diffusion import folder, single_file
from diffusion.single_file import PREFIXES, original_names, read
from keras_multi.errors import DataError, UsageError
from tests.diffusion.reference import STYLES, clip, unet, vae

pytestmark = pytest.mark.slow  # names and files, on no backend in particular

UNET = {
    "channels": (8, 16),
    "attention": (True, False),
    "layers_per_block": 1,
    "num_heads": 2,
    "context_dim": 12,
    "norm_groups": 4,
}
VAE = {"channels": (8, 16), "layers_per_block": 1, "norm_groups": 4}
TEXT = {
    "vocabulary_size": 50,
    "num_layers": 3,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "max_length": 9,
}
OPEN_CLIP = {
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "layer_norm": "ln_",
    "self_attn": "attn",
    "fc1": "c_fc",
    "fc2": "c_proj",
    "embeddings.token_embedding": "token_embedding",
    "embeddings.position_embedding.weight": "positional_embedding",
}


def same(ours, expected):
    for a, b in zip(ours.get_weights(), expected.get_weights(), strict=True):
        assert np.array_equal(a, b)


def written(path, expected, part, tensors):
    """Writes a file, and reads it and the folder of the same model."""
    expected.save_pretrained(path / part)
    tensors = {
        f"{PREFIXES[part]}{name}": tensor.contiguous()
        for name, tensor in tensors.items()
    }
    save_file({**tensors, "betas": torch.ones(3)}, path / "x.safetensors")
    return tensors, folder.read(path, part)


@pytest.mark.parametrize("style", STYLES)
def test_unet_is_named_as_diffusers_converts_it(tmp_path, style):
    expected = unet(style)
    expected.save_pretrained(tmp_path / "unet")
    ours = folder.read(tmp_path, "unet")
    state = expected.state_dict()
    original = {own: state[n] for own, n in original_names(ours).items()}
    tensors, model = written(tmp_path, expected, "unet", original)
    converted = single_file_utils.convert_ldm_unet_checkpoint(
        tensors, expected.config
    )
    assert set(converted) == set(state)
    assert all(torch.equal(converted[name], state[name]) for name in state)
    heads = {"num_heads": model.num_heads}
    linear = {"linear_projection": model.linear_projection}
    path = tmp_path / "x.safetensors"
    same(read(path, "unet", **{**UNET, **heads, **linear}), model)


def test_vae_is_named_as_diffusers_converts_it(tmp_path):
    expected = vae()
    expected.save_pretrained(tmp_path / "vae")
    state = expected.state_dict()
    original = {}
    for own, name in original_names(folder.read(tmp_path, "vae")).items():
        tensor = state[name]
        if ".attn_1." in own and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]
        original[own] = tensor
    tensors, model = written(tmp_path, expected, "vae", original)
    converted = single_file_utils.convert_ldm_vae_checkpoint(
        tensors, expected.config
    )
    assert set(converted) == set(state)
    assert all(torch.equal(converted[name], state[name]) for name in state)
    same(read(tmp_path / "x.safetensors", "vae", **VAE), model)


def test_text_encoder_of_version_1(tmp_path):
    expected = clip()
    tensors = {
        f"transformer.text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in expected.state_dict().items()
    }
    _, model = written(tmp_path, expected, "text_encoder", tensors)
    same(read(tmp_path / "x.safetensors", "text_encoder", **TEXT), model)


def test_text_encoder_of_version_2(tmp_path):
    expected = clip(hidden_act="gelu")
    tensors = {"model.logit_scale": torch.ones(())}
    for name, tensor in expected.state_dict().items():
        name = name.removeprefix("text_model.")
        for theirs, own in OPEN_CLIP.items():
            name = name.replace(theirs, own)
        tensors[f"model.{name}"] = tensor
    for name in [name for name in tensors if ".q_proj." in name]:
        parts = [
            tensors.pop(name.replace("q_proj", f"{c}_proj")) for c in "qkv"
        ]
        tensors[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    _, model = written(tmp_path, expected, "text_encoder", tensors)
    path = tmp_path / "x.safetensors"
    ours = read(path, "text_encoder", **{**TEXT, "skip_layers": 0})
    assert ours.activation == "gelu"
    same(ours, model)
    assert len(read(path, "text_encoder", **TEXT).blocks) == 2


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"x\.ckpt is a pickle"):
        read(tmp_path / "x.ckpt", "unet")
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match="norm_groups"):
        read(tmp_path / "x.safetensors", "unet", norm_groups=7)
    with pytest.raises(DataError, match=r"x\.safetensors: the weights lack"):
        single_file.read(tmp_path / "x.safetensors", "vae", **VAE)
