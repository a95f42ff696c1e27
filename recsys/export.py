"""Writes the models of a recommender for other runtimes."""

import os
from typing import Any

import keras
import numpy as np

from keras_multi import backend
from keras_multi.export import SUFFIXES, check_format, export_layer
from keras_multi.files import prepare_folder
from recsys.two_stage import TwoStageRecommender


def export(
    artifact: str | os.PathLike[str],
    output: str | os.PathLike[str],
    format: str = "onnx",
) -> dict[str, Any]:
    """Writes both towers and the ranker of an artifact.

    Each is read again by the other runtime and compared with Keras on rows
    of the artifact.

    Args:
        artifact: folder of a `TwoStageRecommender`, made on any backend.
        output: folder to write `user_tower`, `item_tower` and `ranker` to;
            files with the suffix `.onnx`, `.tflite` or `.xml` (OpenVINO), or
            folders of a SavedModel.
        format: `"onnx"`, `"saved_model"`, `"litert"` or `"openvino"`.

    Returns:
        `backend`, `format` and `models`: by name its `path`, the names of
        its `inputs` and the `largest_difference` from Keras.

    Raises:
        UsageError: if the format is unknown, this backend cannot write it,
            or a package is missing.
        DataError: if the artifact is missing or damaged.
        KerasMultiError: if a file cannot be written, or gives other numbers
            than Keras.
    """
    check_format(format)
    recommender = TwoStageRecommender.load(artifact)
    folder = prepare_folder(output)
    suffix = SUFFIXES[format]
    return {
        "backend": backend.name(),
        "format": format,
        "models": {
            name: export_layer(
                layer, inputs, folder / f"{name}{suffix}", format
            )
            for name, (layer, inputs) in _models(recommender).items()
        },
    }


def _models(
    recommender: TwoStageRecommender,
) -> dict[str, tuple[keras.Layer, dict[str, Any]]]:
    """Gives each model with some inputs."""
    users = recommender.profiles.users.take(slice(0, 3))
    items = np.arange(min(5, len(recommender.catalogue)))
    pairs = np.broadcast_to(items, (len(users), len(items)))
    retrieval, inputs = recommender.retrieval, recommender.inputs
    some_items = keras.tree.map_structure(lambda x: x[items], inputs.corpus())
    return {
        "user_tower": (retrieval.user_tower, inputs.users(users)),
        "item_tower": (retrieval.item_tower, some_items),
        "ranker": (recommender.ranker, recommender.encode(users, pairs)),
    }
