"""A model with shared layers and losses loads where no class is named."""

import subprocess
import sys

import keras
import numpy as np

from keras_multi import layers, losses

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 5)).astype("float32")
IDS = RNG.integers(0, 4, (6, 5)).astype("int32")
WORDS = RNG.standard_normal((2, 3, 4)).astype("float32")
IMAGES = RNG.integers(0, 256, (2, 6, 6, 3)).astype("uint8")
LAYERS = {
    "Conv2D": (lambda: layers.Conv2D(4, 3), WORDS[..., None]),
    "CrossNetwork": (lambda: layers.CrossNetwork(2, projection_dim=3), X),
    "Dense": (lambda: layers.Dense(4), X),
    "DotInteraction": (lambda: layers.DotInteraction(), X[:, :, None]),
    "Embedding": (lambda: layers.Embedding(4, 3), IDS),
    "EmbeddingBag": (lambda: layers.EmbeddingBag(4, 3), IDS),
    "FeatureCross": (lambda: layers.FeatureCross(), X),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), WORDS),
    "LayerNormalization": (layers.LayerNormalization, WORDS),
    "MLP": (lambda: layers.MLP([4, 3], "gelu"), X),
    "Normalize": (lambda: layers.Normalize(), IMAGES),
    "Pipeline": (lambda: layers.Pipeline([layers.RandomFlip()]), IMAGES),
    "RandomResizedCrop": (lambda: layers.RandomResizedCrop(4, 4), IMAGES),
    "SelfAttention": (lambda: layers.SelfAttention(2), WORDS),
    "SwiGLU": (lambda: layers.SwiGLU(6), WORDS),
    "TransformerBlock": (lambda: layers.TransformerBlock(2), WORDS),
    **{
        name: (getattr(layers, name), IMAGES)
        for name in (
            "ColorJitter",
            "CutMix",
            "CutMixOrMixUp",
            "MixUp",
            "RandAugment",
            "RandomErasing",
            "RandomFlip",
            "TrivialAugment",
        )
    },
    "MultiGateMixtureOfExperts": (
        lambda: layers.MultiGateMixtureOfExperts(2, 3, [4]),
        X,
    ),
    "SparseEmbedding": (lambda: layers.SparseEmbedding(4, 3), IDS),
    "UncertaintyWeights": (lambda: layers.UncertaintyWeights(), X),
}
LOSSES = [
    loss
    for name in losses.__all__
    if isinstance(loss := getattr(losses, name), type)
    and issubclass(loss, losses.RankingLoss)
    and loss is not losses.RankingLoss
]
LOAD = """
import sys
from pathlib import Path
import keras
import numpy as np
import keras_multi.{package}

for path in Path(sys.argv[1]).glob("*.keras"):
    model = keras.saving.load_model(path)
    inputs, outputs = np.load(path.with_suffix(".npz")).values()
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0), outputs, rtol=1e-6, atol=1e-7
    )
    print(path.stem, type(model.loss).__name__)
"""


def save(model, inputs, folder, name):
    """Writes a model with inputs and outputs of it."""
    outputs = model.predict(inputs, verbose=0)
    model.save(folder / f"{name}.keras")
    np.savez(folder / f"{name}.npz", inputs=inputs, outputs=outputs)


def load_elsewhere(folder, package):
    """Loads all models in a process that imports one package only."""
    child = subprocess.run(
        [sys.executable, "-c", LOAD.format(package=package), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return dict(line.split() for line in child.stdout.splitlines())


def test_layers_load_with_their_package(tmp_path):
    classes = {
        n for n in layers.__all__ if isinstance(getattr(layers, n), type)
    }
    assert set(LAYERS) == classes
    for name, (make, inputs) in LAYERS.items():
        x = keras.Input(inputs.shape[1:], dtype=str(inputs.dtype))
        save(keras.Model(x, make()(x)), inputs, tmp_path, name)
    assert set(load_elsewhere(tmp_path, "layers")) == set(LAYERS)


def test_losses_load_with_their_package(tmp_path):
    for loss in LOSSES:
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
        model.compile("sgd", loss())
        save(model, X, tmp_path, loss.__name__)
    softmax = losses.SampledSoftmax(temperature=0.5)
    x = keras.Input((5,))
    save(keras.Model(x, softmax(x, x)), X, tmp_path, "SampledSoftmax")
    loaded = load_elsewhere(tmp_path, "losses")
    assert loaded.pop("SampledSoftmax") == "NoneType"
    assert loaded == {loss.__name__: loss.__name__ for loss in LOSSES}
