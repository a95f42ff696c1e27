"""Says what is in images."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.errors import DataError, UsageError
from vision.classifier import Classifier
from vision.images import Source, find_images, prepare, read_image
from vision.presets import EFFICIENTNET_LITE0


def classify(
    sources: Sequence[Source],
    preset: str = EFFICIENTNET_LITE0,
    top: int = 5,
    batch_size: int = 16,
    skip_damaged: bool = False,
) -> dict[str, Any]:
    """Gives the most probable classes of images.

    Args:
        sources: files, folders and addresses; see `vision.images`.
        preset: as in `Classifier.from_preset`.
        top: number of classes of each image, at least 1.
        batch_size: images at once, at least 1.
        skip_damaged: whether to leave out what cannot be read, with a
            message on standard error. By default it is an error.

    Returns:
        `backend`, `preset` and `images`: for each its `image` (path or
        address) and `predictions`, a list with `class`, `index` (of the
        class) and `probability`, the best first.

    Raises:
        UsageError: if an argument is out of range, a source or the preset is
            unknown, or no image is left.
        DataError: if an image cannot be read or the preset not fetched.
    """
    for name, value in (("top", top), ("batch_size", batch_size)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1. Received: {value}")
    names = find_images(sources)
    model = Classifier.from_preset(preset)
    size, channels = model.image_size, model.input_shape[-1]
    batch_size = min(batch_size, len(names))
    results = []
    for files, images in _batches(
        names, size, channels, batch_size, skip_damaged
    ):
        logits = model.predict_on_batch(images)
        probabilities = ops.convert_to_numpy(ops.softmax(logits))
        results += [
            {"image": file, "predictions": best(row, model.class_names, top)}
            for file, row in zip(files, probabilities, strict=False)
        ]
    if not results:
        raise UsageError("no image could be read")
    return {"backend": backend.name(), "preset": preset, "images": results}


def best(
    probabilities: np.ndarray, class_names: Sequence[str] | None, top: int
) -> list[dict[str, Any]]:
    """Lists the most probable classes, the lower index first among equals.

    Args:
        probabilities: `(classes,)`.
        class_names: name of each class; its number where there are none.
        top: number of classes.

    Returns:
        For each `class`, `index` and `probability`.
    """
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [
        {
            "class": class_names[i] if class_names else str(i),
            "index": int(i),
            "probability": float(probabilities[i]),
        }
        for i in order
    ]


def _batches(
    names: Sequence[str],
    size: int,
    channels: int,
    batch_size: int,
    skip_damaged: bool,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Reads images; a last batch is filled up, as shapes cost compilations."""
    files: list[str] = []
    images = np.zeros((batch_size, size, size, channels), np.float32)
    for name in names:
        try:
            images[len(files)] = prepare(read_image(name), size, channels)
        except DataError as error:
            if not skip_damaged:
                raise
            print(f"skipped: {error}", file=sys.stderr)
            continue
        files.append(name)
        if len(files) == batch_size:
            yield files, images
            files = []
    if files:
        yield files, images
