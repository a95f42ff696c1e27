"""Writes the models of a recommender for other runtimes."""

import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.errors import KerasMultiError, UsageError
from keras_multi.files import prepare_folder
from recsys.two_stage import TwoStageRecommender

# Who can write a format, and the package that the backend needs for it.
FORMATS: dict[str, dict[str, str]] = {
    "onnx": {"torch": "onnx", "tensorflow": "tf2onnx"},
    "saved_model": {"tensorflow": "tensorflow"},
}
TOLERANCE = 1e-5


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
            files with the suffix `.onnx`, or folders of a SavedModel.
        format: `"onnx"` or `"saved_model"`.

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
    _check(format)
    recommender = TwoStageRecommender.load(artifact)
    folder = prepare_folder(output)
    suffix = ".onnx" if format == "onnx" else ""
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


def export_layer(
    layer: keras.Layer, inputs: dict[str, Any], path: Path, format: str
) -> dict[str, Any]:
    """Writes one layer, reads it again and compares.

    The number of rows stays open, all else is as in `inputs`.

    Args:
        layer: a layer of a mapping from names to arrays.
        inputs: at least two rows.
        path: what to write.
        format: `"onnx"` or `"saved_model"`.

    Returns:
        `path`, `inputs` and `largest_difference`.

    Raises:
        UsageError: as `export`.
        KerasMultiError: as `export`.
    """
    _check(format)
    inputs = _used(inputs)
    symbols = _symbols(inputs)
    model = keras.Model(symbols, layer(symbols, training=False))
    expected = ops.convert_to_numpy(
        model(keras.tree.map_structure(ops.convert_to_tensor, inputs))
    )
    with warnings.catch_warnings():
        # PyTorch warns of each shape that it takes for a constant. The number
        # of rows is none of them: the comparison has another than the export.
        warnings.simplefilter("ignore")
        model.export(
            str(path),
            format="onnx" if format == "onnx" else "tf_saved_model",
            verbose=False,
        )
    got = _run_onnx(path, inputs) if format == "onnx" else _run(path, inputs)
    difference = float(np.max(np.abs(got - expected)))
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise KerasMultiError(
            f"{path} differs from Keras by {difference:.2g}; report this with "
            "the versions that `keras-multi info` shows"
        )
    return {
        "path": str(path),
        "inputs": list(_flat(inputs)),
        "largest_difference": difference,
    }


def _used(inputs: dict[str, Any]) -> dict[str, Any]:
    """Leaves out arrays without columns, which other formats do not know."""
    return {
        key: _used(value) if isinstance(value, dict) else value
        for key, value in inputs.items()
        if isinstance(value, dict) or value.shape[1]
    }


def _symbols(inputs: Any, name: str = "") -> Any:
    """Gives a symbolic input for each array, its number of rows left open."""
    if isinstance(inputs, dict):
        return {key: _symbols(value, key) for key, value in inputs.items()}
    return keras.Input(inputs.shape[1:], dtype=str(inputs.dtype), name=name)


def _flat(inputs: Any) -> dict[str, np.ndarray]:
    """Names each array by the last of its keys."""
    flat: dict[str, np.ndarray] = {}
    for key, value in inputs.items():
        flat |= _flat(value) if isinstance(value, dict) else {key: value}
    return flat


def _check(format: str) -> None:
    if format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}; choose one of {', '.join(FORMATS)}"
        )
    able = FORMATS[format]
    if backend.name() not in able:
        raise UsageError(
            f"the backend {backend.name()!r} cannot write {format}; set "
            f"KERAS_BACKEND to {' or '.join(able)}, which read the same "
            "artifact"
        )
    needed = [able[backend.name()]]
    needed += ["onnx", "onnxruntime"] if format == "onnx" else []
    missing = [p for p in needed if importlib.util.find_spec(p) is None]
    if missing:
        raise UsageError(
            f"this export needs {', '.join(missing)}; run: pip install "
            "'keras-multi[export]'"
        )


def _run_onnx(path: Path, inputs: dict[str, Any]) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    flat = _flat(inputs)
    names = [one.name for one in session.get_inputs()]
    return np.asarray(session.run(None, {n: flat[n] for n in names})[0])


def _run(path: Path, inputs: dict[str, Any]) -> np.ndarray:
    layer = keras.layers.TFSMLayer(str(path), call_endpoint="serve")
    return np.asarray(layer(inputs))
