import json

import numpy as np
import pytest

from diffusion import folder
from diffusion.clip import CLIPTextEncoder
from keras_multi.errors import DataError, UsageError
from keras_multi.presets import read_safetensors, write_safetensors

WEIGHTS = "model.safetensors"

pytestmark = pytest.mark.slow  # names and files, on no backend in particular


@pytest.fixture
def path(tmp_path):
    model = CLIPTextEncoder(20, 2, 2, 8, 16, max_length=5)
    folder.write(tmp_path, "text_encoder", model)
    return tmp_path / "text_encoder"


def read(path, **changes):
    return folder.read(path.parent, "text_encoder", **changes)


def change(path, **fields):
    config = path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **fields}))


def test_half_precision(path):
    model = read(path)
    folder.write(path.parent, "text_encoder", model, "float16")
    (path / WEIGHTS).rename(path / "model.fp16.safetensors")
    for ours, half in zip(
        model.get_weights(), read(path).get_weights(), strict=True
    ):
        assert np.array_equal(ours.astype("float16"), half)


def test_tensors_that_do_not_count_are_passed_over(path):
    arrays = dict(read_safetensors(path / WEIGHTS))
    positions = np.arange(5)[None]
    arrays["text_model.embeddings.position_ids"] = positions
    write_safetensors(path / WEIGHTS, arrays)
    assert read(path).built


def test_a_file_that_is_missing(path):
    (path / WEIGHTS).unlink()
    with pytest.raises(DataError, match=r"there is no .*model\.safetensors"):
        read(path)
    (path / "pytorch_model.bin").touch()
    with pytest.raises(DataError, match=r"pytorch_model\.bin is a pickle"):
        read(path)
    (path / "config.json").unlink()
    with pytest.raises(DataError, match=r"there is no .*config\.json"):
        read(path)


def test_weights_that_do_not_fit(path):
    arrays = dict(read_safetensors(path / WEIGHTS))
    name = "text_model.encoder.layers.1.mlp.fc1.weight"
    others = {**arrays, name: np.zeros((16, 9), "float32")}
    write_safetensors(path / WEIGHTS, others)
    with pytest.raises(DataError, match=rf"{name} has the shape \(16, 9\)"):
        read(path)
    write_safetensors(path / WEIGHTS, {**arrays, "extra": np.zeros(2)})
    with pytest.raises(DataError, match="the model has no weight extra"):
        read(path)
    del arrays[name]
    write_safetensors(path / WEIGHTS, arrays)
    with pytest.raises(DataError, match=f"the weights lack {name}"):
        read(path)


def test_a_file_that_is_truncated(path):
    content = (path / WEIGHTS).read_bytes()
    (path / WEIGHTS).write_bytes(content[:-5])
    with pytest.raises(DataError, match=r"model\.safetensors is damaged"):
        read(path)


def test_a_configuration_that_is_not_known(path):
    with pytest.raises(UsageError, match="num_heads"):
        read(path, num_heads=3)
    change(path, num_attention_heads=3)
    with pytest.raises(DataError, match=r"config\.json cannot be used: .*num_"):
        read(path)
    change(path, model_type="bert")
    with pytest.raises(DataError, match="describes a 'bert'"):
        read(path)


def test_a_unet_that_is_not_known(tmp_path):
    path = tmp_path / "unet"
    path.mkdir()
    config = {"_class_name": "UNet2DConditionModel"}
    for fields, message in (
        ({"class_embed_type": "timestep"}, "asks for class_embed_type="),
        (
            {"down_block_types": ["Skip"], "up_block_types": ["UpBlock2D"]},
            "blocks that are not known: .*Skip",
        ),
    ):
        (path / "config.json").write_text(json.dumps({**config, **fields}))
        with pytest.raises(DataError, match=message):
            folder.read(tmp_path, "unet")
