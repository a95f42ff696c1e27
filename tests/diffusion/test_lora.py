import numpy as np
import pytest

from diffusion.clip import CLIPTextEncoder
from diffusion.lora import LoRA
from diffusion.names import slots_of
from diffusion.unet import UNet
from keras_multi.errors import DataError
from keras_multi.presets import write_safetensors

pytestmark = pytest.mark.slow  # names and files, on no backend in particular

RNG = np.random.default_rng(4)
BLOCK = "down_blocks.0.attentions.0"
QUERY = f"{BLOCK}.transformer_blocks.0.attn1.to_q"
OUTPUT = f"{BLOCK}.transformer_blocks.0.attn2.to_out.0"
POINTWISE = f"{BLOCK}.proj_in"
CONVOLUTION = "down_blocks.0.resnets.0.conv1"
KEY = "text_model.encoder.layers.0.self_attn.k_proj"


@pytest.fixture(scope="module")
def models():
    unet = UNet(
        channels=(8,),
        attention=(True,),
        layers_per_block=1,
        num_heads=2,
        context_dim=12,
        norm_groups=4,
    )
    unet.build()
    text = CLIPTextEncoder(20, 1, 2, 8, 16, max_length=5)
    text.build()
    return {"unet": unet, "text_encoder": text}


def pair(outputs, inputs, size=()):
    down = RNG.normal(size=(2, inputs, *size)).astype("float32")
    up = RNG.normal(size=(outputs, 2, *(1 for _ in size))).astype("float32")
    return down, up


PAIRS = {
    ("unet", QUERY): pair(8, 8),
    ("unet", OUTPUT): pair(8, 8),
    ("text_encoder", KEY): pair(8, 8),
}
CONVOLUTIONS = {
    ("unet", POINTWISE): pair(8, 8, (1, 1)),
    ("unet", CONVOLUTION): pair(8, 8, (3, 3)),
}


def kohya():
    """Writes all pairs as kohya's scripts do, with an alpha of 1."""
    arrays = {}
    for (part, layer), (down, up) in (PAIRS | CONVOLUTIONS).items():
        start = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part]
        name = start + layer.replace(".", "_")
        arrays[f"{name}.lora_down.weight"] = down
        arrays[f"{name}.lora_up.weight"] = up
        arrays[f"{name}.alpha"] = np.array(1, "float32")
    return arrays


def peft():
    """Writes the matrices as diffusers does."""
    arrays = {}
    for (part, layer), (down, up) in PAIRS.items():
        arrays[f"{part}.{layer}.lora_A.weight"] = down
        arrays[f"{part}.{layer}.lora_B.weight"] = up
    return arrays


def attention_processors():
    """Writes the matrices as diffusers did before 2023's end."""
    unet = "unet." + QUERY.replace("to_q", "processor.to_q_lora")
    output = "unet." + OUTPUT.replace("to_out.0", "processor.to_out_lora")
    text = f"text_encoder.{KEY}.lora_linear_layer"
    names = dict(zip(PAIRS, (unet, output, text), strict=True))
    return {
        f"{names[key]}.{kind}.weight": array
        for key, (down, up) in PAIRS.items()
        for kind, array in (("down", down), ("up", up))
    }


@pytest.mark.parametrize(
    ("arrays", "pairs", "factor"),
    [
        (kohya(), PAIRS | CONVOLUTIONS, 0.5),
        (peft(), PAIRS, 1),
        (attention_processors(), PAIRS, 1),
    ],
    ids=["kohya", "peft", "processors"],
)
def test_adds_the_product_and_removes_it(
    models, tmp_path, arrays, pairs, factor
):
    write_safetensors(tmp_path / "x.safetensors", arrays)
    lora = LoRA.read(tmp_path / "x.safetensors")
    before = {part: all_of(model) for part, model in models.items()}
    merged = lora.merge(models, scale=0.8)
    after = {part: all_of(model) for part, model in models.items()}
    changed = {
        (part, name.removesuffix(".weight"))
        for part, tensors in after.items()
        for name, tensor in tensors.items()
        if not np.array_equal(tensor, before[part][name])
    }
    assert changed == set(pairs)
    for (part, layer), (down, up) in pairs.items():
        name = f"{layer}.weight"
        product = np.tensordot(up.reshape(8, 2), down, axes=1)
        delta = 0.8 * factor * product.reshape(before[part][name].shape)
        np.testing.assert_allclose(
            after[part][name], before[part][name] + delta, atol=1e-5
        )
    merged.remove()
    for part, model in models.items():
        for name, tensor in all_of(model).items():
            assert np.array_equal(tensor, before[part][name])


def all_of(model):
    return {name: slot.read() for name, slot in slots_of(model).items()}


def test_a_model_that_is_not_given_is_left_out(models, tmp_path):
    write_safetensors(tmp_path / "x.safetensors", peft())
    before = all_of(models["text_encoder"])
    lora = LoRA.read(tmp_path / "x.safetensors")
    lora.merge({"unet": models["unet"]}).remove()
    for name, tensor in all_of(models["text_encoder"]).items():
        assert np.array_equal(tensor, before[name])


def test_files_that_do_not_fit(models, tmp_path):
    path = tmp_path / "x.safetensors"
    for arrays, message in (
        ({"unet.x.weight": np.ones(1)}, r"unet\.x\.weight is no part"),
        ({f"unet.{QUERY}.lora_A.weight": np.ones((2, 8))}, "is incomplete"),
    ):
        write_safetensors(path, arrays)
        with pytest.raises(DataError, match=message):
            LoRA.read(path)
    for layer, width, message in (
        ("nowhere", 8, "the unet has no layer nowhere"),
        (QUERY, 9, "to_q does not fit"),
    ):
        name = f"unet.{layer}.lora"
        arrays = {
            f"{name}_A.weight": np.ones((2, width)),
            f"{name}_B.weight": np.ones((8, 2)),
        }
        write_safetensors(path, arrays)
        with pytest.raises(DataError, match=message):
            LoRA.read(path).merge(models)
