"""EfficientNet-Lite0 with its real weights, on real photographs."""

import importlib
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from typer.testing import CliRunner

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.data.sources import Wheel
from keras_multi.errors import DataError
from vision import Classifier
from vision.backbones import EfficientNetLite0
from vision.backbones.weights import assign_efficientnet_lite
from vision.cli import app
from vision.images import prepare
from vision.presets import PRESETS

NAME = "efficientnet_lite0_imagenet"
ORACLE = FileSet(
    name="tests-efficientnet-lite-pytorch",
    description="The network as others have written it.",
    licence="Apache 2.0.",
    homepage="https://pypi.org/project/efficientnet-lite-pytorch/",
    sources=(
        Wheel(
            requirement="efficientnet-lite-pytorch==0.1.0",
            sha256="ce0fe869b0e829aceafc32f84275a40c"
            "0e3418d19216401b03f695f5f20cbc41",
            members=tuple(
                f"efficientnet_lite_pytorch/{name}.py"
                for name in ("__init__", "model", "utils")
            ),
        ),
    ),
)


@pytest.fixture(scope="module")
def model():
    return Classifier.from_preset(NAME)


@pytest.fixture(scope="module")
def photographs():
    """A palace and a flower."""
    return [Image.fromarray(image) for image in load_sample_images().images]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """The module of PyTorch for which the weights were made."""
    folder = tmp_path_factory.mktemp("oracle")
    package = folder / "efficientnet_lite_pytorch"
    package.mkdir()
    files = ORACLE.files(default_cache_dir(), progress=False)
    for name, content in files.items():
        (package / name).write_bytes(content)
    (content,) = PRESETS[NAME].files(default_cache_dir(), False).values()
    (folder / "weights.pth").write_bytes(content)
    sys.path.insert(0, str(folder))
    module = importlib.import_module("efficientnet_lite_pytorch")
    sys.path.remove(str(folder))
    network = module.EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(folder / "weights.pth", weights_only=True)
    network.load_state_dict(state)
    return network.eval()


def test_logits_are_those_of_another_implementation(model, photographs, oracle):
    images = np.stack([prepare(image, 224) for image in photographs])
    got = model.predict_on_batch(images.astype("float32"))
    scaled = (torch.from_numpy(images).permute(0, 3, 1, 2) - 127.0) / 128.0
    with torch.no_grad():
        expected = oracle(scaled).numpy()
    assert got.shape == (2, 1000)
    # So that those of two backends are within 1e-3 of each other.
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-4)


def test_a_palace_is_recognized(photographs, tmp_path):
    photographs[0].save(tmp_path / "china.png")
    result = CliRunner().invoke(
        app, ["classify", str(tmp_path / "china.png"), "--json"]
    )
    assert result.exit_code == 0, result.exception
    (entry,) = json.loads(result.stdout)["images"]
    assert len(entry["predictions"]) == 5
    assert "palace" in [p["class"] for p in entry["predictions"]]


def test_classes_have_names(model):
    assert len(set(model.class_names)) >= 998  # crane and maillot are twice
    assert model.class_names[0] == "tench"
    assert model.class_names[698] == "palace"
    assert model.image_size == 224


def test_tuning_begins_frozen(model):
    tuned = Classifier.from_preset(NAME, num_classes=4)
    assert len(tuned.trainable_variables) == 2
    for ours, theirs in zip(
        tuned.backbone.get_weights(),
        model.backbone.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    random = Classifier.from_preset(NAME, num_classes=4, load_weights=False)
    assert len(random.trainable_variables) > 100


def test_wrong_weights_are_refused():
    with pytest.raises(DataError, match=r"lack '_conv_stem\.weight'"):
        assign_efficientnet_lite(EfficientNetLite0(), {})
    with pytest.raises(DataError, match="do not fit"):
        assign_efficientnet_lite(
            EfficientNetLite0(), {"_conv_stem.weight": np.zeros((1, 1, 1, 1))}
        )
