"""Computes every case on the backend of this process, into an npz file.

Weights and inputs come from NumPy, so that the files of all backends must
hold the same numbers.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_multi import backend, layers, losses
from recsys import DCN
from vision import Classifier
from vision.backbones import ResNet

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 12)).astype("float32")
X2 = RNG.standard_normal((16, 12)).astype("float32")
FEATURES = RNG.standard_normal((16, 5, 8)).astype("float32")
PICTURES = FEATURES.reshape(16, 5, 4, 2)
IDS = RNG.integers(0, 7, (16, 3)).astype("int32")
Y = RNG.integers(0, 2, (16, 1)).astype("float32")
BAGS = RNG.integers(-1, 7, (16, 5)).astype("int32")
SHARES = RNG.uniform(0.5, 2.0, (16, 5)).astype("float32")
LABELS = RNG.integers(-1, 4, (16, 6)).astype("float32")
SCORES = RNG.standard_normal((16, 6)).astype("float32")
KEPT = np.arange(5) < RNG.integers(1, 6, (16, 1))

LAYERS: dict[str, tuple[Callable[[], keras.layers.Layer], list[Any]]] = {
    "conv2d": (lambda: layers.Conv2D(4, 3, 2, "same"), [PICTURES]),
    "cross": (lambda: layers.FeatureCross(diag_scale=0.1), [X, X2]),
    "cross_low_rank": (lambda: layers.FeatureCross(4), [X, X2]),
    "cross_mixture": (lambda: layers.FeatureCross(4, 3), [X, X2]),
    "cross_vector": (lambda: layers.FeatureCross(vector=True), [X, X2]),
    "cross_network": (lambda: layers.CrossNetwork(3), [X]),
    "dense": (lambda: layers.Dense(4), [FEATURES]),
    "dot_interaction": (lambda: layers.DotInteraction(), [FEATURES]),
    "mlp": (lambda: layers.MLP([8, 4], normalization="layer"), [X]),
    "embedding": (lambda: layers.Embedding(7, 4), [IDS]),
    "embedding_bag": (lambda: layers.EmbeddingBag(7, 4, "mean"), [BAGS]),
    "embedding_bag_weighted": (
        lambda: layers.EmbeddingBag(7, 4, "sqrtn"),
        [BAGS, SHARES],
    ),
    "mixture_of_experts": (
        lambda: layers.MultiGateMixtureOfExperts(2, 3, [8, 4]),
        [X],
    ),
    "self_attention_rotary": (
        lambda: layers.SelfAttention(
            4, causal=True, num_key_value_heads=2, rotary_base=50.0
        ),
        [FEATURES, KEPT],
    ),
    "swiglu": (lambda: layers.SwiGLU(6), [FEATURES]),
    "transformer_block": (
        lambda: layers.TransformerBlock(2, causal=True),
        [FEATURES, KEPT],
    ),
    "uncertainty_weights": (lambda: layers.UncertaintyWeights(), [SHARES]),
}
# Functions of float tensors that give a number, and these tensors.
LOSSES: dict[str, tuple[Callable[..., Any], list[np.ndarray]]] = {
    **{
        loss.title: (lambda scores, loss=loss: loss()(LABELS, scores), [SCORES])
        for loss in (
            losses.ListMLELoss,
            losses.SoftmaxRankingLoss,
            losses.PairwiseHingeLoss,
            losses.PairwiseLogisticLoss,
        )
    },
    "sampled_softmax": (
        lambda queries, candidates: ops.mean(
            losses.SampledSoftmax(0.5, num_hard_negatives=4)(
                queries, candidates, candidate_ids=IDS[:, 0]
            )
        ),
        [X, X2],
    ),
}
MODELS: dict[str, Callable[[], keras.Model]] = {
    f"dcn_{structure}": lambda structure=structure: DCN(
        (7, 7, 7), 12, embedding_dim=4, deep_units=(8,), structure=structure
    )
    for structure in ("stacked", "parallel")
}


def fill(layer: keras.layers.Layer) -> None:
    """Sets weights that do not depend on the backend."""
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.weights])


def outputs_and_gradients(
    layer: keras.layers.Layer, arguments: list[Any], loss: Callable[[Any], Any]
) -> list[np.ndarray]:
    """Output, loss and the gradient of each weight."""
    output = layer(*arguments)
    value, gradients = backend.value_and_gradients(
        lambda: loss(layer(*arguments)), layer.trainable_variables
    )
    return [ops.convert_to_numpy(x) for x in (output, value, *gradients)]


def classifier_logits(file: Path) -> list[np.ndarray]:
    """Logits of a classifier; the first backend trains and saves it."""
    images = np.random.default_rng(2).uniform(0, 255, (8, 12, 12, 3))
    images = images.astype("float32")
    if not file.exists():
        model = Classifier(ResNet((1, 1), (4, 8)), 3)
        model.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        labels = np.arange(8) % 3
        model.fit(images, labels, batch_size=8, epochs=3, verbose=0)
        model.save(file)
    model = Classifier.from_preset(str(file))
    return [model.predict(images, verbose=0)]


def main(path: str) -> None:
    """Computes all cases."""
    results: dict[str, list[np.ndarray]] = {}
    for name, (make, arguments) in LAYERS.items():
        layer = make()
        layer(*arguments)
        fill(layer)
        results[name] = outputs_and_gradients(
            layer, arguments, lambda y: ops.mean(ops.square(y))
        )
    for name, (loss, tensors) in LOSSES.items():
        variables = [keras.Variable(tensor) for tensor in tensors]
        value, gradients = backend.value_and_gradients(
            lambda loss=loss, variables=variables: loss(
                *[variable.value for variable in variables]
            ),
            variables,
        )
        results[name] = [ops.convert_to_numpy(x) for x in (value, *gradients)]
    inputs = {"categorical": IDS, "dense": X}
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    for name, make_model in MODELS.items():
        model = make_model()
        model(inputs)
        fill(model)
        results[name] = outputs_and_gradients(
            model, [inputs], lambda z: cross_entropy(Y, z)
        )
        model.compile(keras.optimizers.Adam(0.01), cross_entropy)
        history = model.fit(
            inputs, Y, batch_size=8, epochs=5, shuffle=False, verbose=0
        )
        results[f"{name}_training"] = [np.array(history.history["loss"])]
    results["classifier"] = classifier_logits(
        Path(path).with_name("classifier.keras")
    )
    np.savez(
        path,
        **{f"{n}/{i}": a for n, r in results.items() for i, a in enumerate(r)},
    )


if __name__ == "__main__":
    main(sys.argv[1])
