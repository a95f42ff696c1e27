"""What the augmentation workloads share: images and contenders."""

import importlib.util
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from benchmarks.workload import Contender, Setting
from keras_multi import backend

NUM_CLASSES = 10
BATCHES = 2

Batch = dict[str, np.ndarray]


def batches(batch_size: int, side: int = 64) -> list[Batch]:
    """Images of soft patches and noise, with labels, the same for everyone."""
    rng = np.random.default_rng(0)
    patches = rng.uniform(0, 180, (BATCHES, batch_size, 8, 8, 3))
    scale = side // patches.shape[2]
    images = patches.repeat(scale, axis=2).repeat(scale, axis=3)
    images += rng.uniform(0, 75, images.shape)
    labels = rng.integers(0, NUM_CLASSES, (BATCHES, batch_size))
    return [
        {
            "images": i.astype("uint8"),
            "labels": np.eye(NUM_CLASSES, dtype="float32")[n],
        }
        for i, n in zip(images, labels.astype("int32"), strict=True)
    ]


def compiled_mode(mode: str) -> str:
    """The mode for layers of Keras: XLA cannot compile them on TensorFlow."""
    return "graph" if backend.name() == "tensorflow" else mode


class LayerContender(Contender):
    """Layers of Keras on batches from the host's memory, one after the other.

    Args:
        layers: each is applied to each batch.
        data: the batches.
        mode: a mode of the backend.
    """

    def __init__(
        self, layers: list[keras.layers.Layer], data: list[Batch], mode: str
    ) -> None:
        self.layers, self.data = layers, data
        self.states: list[list[Any]] = []
        for layer in layers:
            self.call(layer, data[0])
            self.states.append([v.value for v in layer.variables])
        self.calls = [self._stateless(layer, mode) for layer in layers]
        self.next = 0

    def call(self, layer: keras.layers.Layer, batch: Batch) -> Any:
        """Calls a layer eagerly; it may change the dictionary it is given."""
        return layer(dict(batch), training=True)

    def _stateless(self, layer: keras.layers.Layer, mode: str) -> Any:
        def call(state: list[Any], batch: Any) -> Any:
            # Some layers change the dictionary that they are given.
            return layer.stateless_call([], state, dict(batch), training=True)

        return backend.jit(call, mode)

    def step(self, batch: Batch) -> list[Any]:
        """What each layer makes of a batch."""
        given = tree.map_structure(ops.convert_to_tensor, batch)
        outputs = []
        for index, call in enumerate(self.calls):
            output, self.states[index] = call(self.states[index], dict(given))
            outputs.append(output)
        return outputs

    def output(self) -> np.ndarray:
        """What augmentations agree on, whatever they draw.

        Shape and range of the images; and since mixing an image with itself
        changes nothing, values that come of it.
        """
        return describe(self.step(self.same(self.data[0])))

    def same(self, batch: Batch) -> Batch:
        """A batch of one image only."""
        return {
            key: np.repeat(value[:1], len(value), axis=0)
            for key, value in batch.items()
        }

    def run(self, steps: int) -> None:
        """Augments the next batches."""
        for _ in range(steps):
            batch = self.data[self.next % len(self.data)]
            self.next += 1
            backend.synchronize(self.step(batch))


class KerasCVContender(LayerContender):
    """Layers of keras_cv, which run TensorFlow on every backend.

    Only on TensorFlow can they be compiled with the rest.
    """

    def _stateless(self, layer: keras.layers.Layer, mode: str) -> Any:
        def call(state: list[Any], batch: Any) -> Any:
            return layer(dict(batch)), state

        return backend.jit(call, mode) if mode == "graph" else call

    def call(self, layer: keras.layers.Layer, batch: Batch) -> Any:
        """Calls a layer eagerly on tensors."""
        return layer(tree.map_structure(ops.convert_to_tensor, batch))


def describe(outputs: list[Any]) -> np.ndarray:
    """Shape, range, and what happened to images and labels."""
    values: list[float] = []
    for output in outputs:
        batch = output if isinstance(output, Mapping) else {"images": output}
        images = ops.convert_to_numpy(ops.cast(batch["images"], "float32"))
        inside = (images >= 0).all() and (images <= 255).all()
        values += [*images.shape, float(inside)]
        if "labels" in batch:
            labels = ops.convert_to_numpy(ops.cast(batch["labels"], "float32"))
            values += [*images[0, ::16, ::16].ravel(), *labels[0]]
    return np.array(values)


def has_keras_cv() -> bool:
    """Whether keras_cv is here, and TensorFlow, which it needs."""
    return "tensorflow" in backend.available() and (
        importlib.util.find_spec("keras_cv") is not None
    )


def keras_peer(
    layers: list[keras.layers.Layer], setting: Setting, data: list[Batch]
) -> Contender:
    """Layers of Keras itself, in the best mode that they can run in."""
    return LayerContender(layers, data, compiled_mode(setting.mode))
