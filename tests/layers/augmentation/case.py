"""What every augmentation layer must hold, and pictures to hold it on."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_multi import backend
from keras_multi.layers.augmentation import operations

# The same in most tests: JAX compiles each operation anew for each shape.
COUNT, HEIGHT, WIDTH = 42, 40, 56


@cache
def _photographs() -> np.ndarray:
    from sklearn.datasets import load_sample_images

    return np.stack(
        [
            photo[y : y + HEIGHT, x : x + WIDTH]
            for photo in load_sample_images().images
            for y in range(0, 380, 54)
            for x in range(0, 600, 83)
        ]
    )


def photographs(count: int = COUNT) -> np.ndarray:
    """Pieces of two photographs, uint8 `(count, HEIGHT, WIDTH, 3)`."""
    return _photographs()[:count].copy()


def chosen_of(ids: Any, amounts: Any) -> operations.Chosen:
    """Operations and their amounts, both `(batch,)`."""
    own = ops.one_hot(ids, len(operations.NAMES), dtype="float32")
    return operations.Chosen(ids, own * amounts[:, None])


def everything(count: int = COUNT) -> dict[str, Any]:
    """Photographs with labels, boxes and masks."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.5, (count, 3, 2))
    sides = rng.uniform(0.2, 0.5, (count, 3, 2))
    boxes = np.concatenate([corners, corners + sides], -1)
    labels = rng.integers(0, 4, (count, 3))
    labels[:, 2] = -1
    return {
        "images": photographs(count),
        "labels": np.arange(count) % 5,
        "bounding_boxes": {
            "boxes": (boxes * [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype("float32"),
            "labels": labels,
        },
        "segmentation_masks": rng.integers(0, 9, (count, HEIGHT, WIDTH)),
    }


def as_numpy(batch: Any) -> Any:
    """Takes tensors to arrays."""
    return tree.map_structure(ops.convert_to_numpy, batch)


def check_equal(one: Any, other: Any) -> None:
    """Compares nested structures of arrays exactly."""
    tree.assert_same_structure(one, other)
    for a, b in zip(tree.flatten(one), tree.flatten(other), strict=True):
        np.testing.assert_array_equal(a, b)


def check_augmentation(make: Callable[..., Any], folder: Path) -> None:
    """Checks a layer on bytes, floats, dictionaries, compiled and saved.

    Args:
        make: builds the layer; takes `seed`, `data_format` and `dtype`.
        folder: where files may be written.
    """
    batch = everything()
    images = batch["images"]
    output = as_numpy(make(seed=3)(batch, training=True))
    again = as_numpy(make(seed=3)(batch, training=True))
    check_equal(again, output)
    alone = ops.convert_to_numpy(make(seed=3)(images, training=True))
    np.testing.assert_array_equal(alone, output["images"])
    _check_kept(make, batch)
    _check_channels_first(make, batch, output)
    _check_compiled(make, batch, output)
    _check_saved(make(seed=3), images[:8], folder)


def _check_kept(make: Callable[..., Any], batch: dict[str, Any]) -> None:
    """Images keep their dtype, the caller's dictionary its content."""
    before = tree.map_structure(np.copy, batch)
    layer = make(seed=3, dtype="mixed_bfloat16")
    for dtype in ("uint8", "float32", "float16"):
        given = {**batch, "images": batch["images"].astype(dtype)}
        images = layer(given, training=True)["images"]
        found = keras.backend.standardize_dtype(images.dtype)
        assert found == dtype
        values = ops.convert_to_numpy(ops.cast(images, "float32"))
        assert np.isfinite(values).all()
    check_equal(before, batch)


def _check_channels_first(
    make: Callable[..., Any], batch: dict[str, Any], output: Any
) -> None:
    first = {
        **batch,
        "images": batch["images"].transpose(0, 3, 1, 2),
        "segmentation_masks": batch["segmentation_masks"][:, None],
    }
    layer = make(seed=3, data_format="channels_first")
    found = as_numpy(layer(first, training=True))
    found["images"] = found["images"].transpose(0, 2, 3, 1)
    found["segmentation_masks"] = found["segmentation_masks"][:, 0]
    check_equal(found, output)


def compiled(layer: Any) -> Callable[[Any], Any]:
    """The layer in training, compiled.

    On PyTorch random numbers are drawn first, as its tracer cannot follow
    them, and the rest is traced as a whole, without code generation, which
    takes seconds and tests the compiler.
    """
    if backend.name() == "torch":
        import torch

        torch._dynamo.reset()
        transform = torch.compile(
            layer.transform, fullgraph=True, backend="eager"
        )
        return lambda batch: transform(
            layer.standard(batch), layer.draw(len(batch["images"]))
        )
    if backend.name() == "jax":
        state = [v.value for v in layer.non_trainable_variables]
        run = backend.jit(
            lambda batch: layer.stateless_call([], state, batch, training=True)
        )
        return lambda batch: run(batch)[0]
    return backend.jit(lambda batch: layer(batch, training=True))


def _check_compiled(
    make: Callable[..., Any], batch: dict[str, Any], output: Any
) -> None:
    layer = make(seed=3)
    if not hasattr(layer, "transform"):
        return
    layer.build((None, HEIGHT, WIDTH, 3))
    tensors = tree.map_structure(ops.convert_to_tensor, batch)
    found = as_numpy(compiled(layer)(tensors))
    for a, b in zip(tree.flatten(found), tree.flatten(output), strict=True):
        if b.dtype == "uint8":
            close = np.abs(a.astype(int) - b.astype(int)) <= 1
            assert close.mean() >= 0.999
        else:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-3)


def _check_saved(layer: Any, images: np.ndarray, folder: Path) -> None:
    config = layer.get_config()
    json.dumps(config)
    again = type(layer).from_config(config)
    assert json.dumps(again.get_config()) == json.dumps(config)

    inputs = keras.Input(images.shape[1:], dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    at_rest = model.predict(images, verbose=0)
    assert model.output_shape == (None, *at_rest.shape[1:])
    model.save(folder / "layer.keras")
    loaded = keras.models.load_model(folder / "layer.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), at_rest)
