"""Writes layers for other runtimes, and checks what they compute."""

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.errors import KerasMultiError, UsageError

# Who can write a format, and the package that the backend needs for it.
FORMATS: dict[str, dict[str, str]] = {
    "onnx": {"torch": "onnx", "tensorflow": "tf2onnx"},
    "saved_model": {"tensorflow": "tensorflow"},
    "litert": {"tensorflow": "tensorflow"},
    "openvino": {"torch": "openvino", "tensorflow": "openvino"},
}
EXTRAS = {"openvino": "openvino"}  # others are in `export`
# How the name of a file has to end; a SavedModel is a folder.
SUFFIXES = {
    "onnx": ".onnx",
    "saved_model": "",
    "litert": ".tflite",
    "openvino": ".xml",
}
TOLERANCE = 1e-5


def export_layer(
    layer: Callable[..., Any],
    inputs: dict[str, Any],
    path: Path,
    format: str,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Writes one layer, reads it again and compares.

    The number of rows stays open, all else is as in `inputs`.

    Args:
        layer: a layer or model of a mapping from names to arrays.
        inputs: at least two rows.
        path: what to write.
        format: one of `FORMATS`.
        tolerance: largest difference from Keras that is accepted, as a share
            of the largest output if that exceeds 1.

    Returns:
        `path`, `inputs` and `largest_difference`.

    Raises:
        UsageError: as `check_format`, if the path has a wrong suffix, or if
            this backend cannot write inputs in groups in this format.
        KerasMultiError: if a file cannot be written, or gives other numbers
            than Keras.
    """
    check_format(format)
    if not path.name.endswith(SUFFIXES[format]):
        raise UsageError(
            f"a file of the format {format} must end in {SUFFIXES[format]}. "
            f"Received: {path}"
        )
    inputs = _used(inputs)
    nested = any(isinstance(value, dict) for value in inputs.values())
    if format == "openvino" and backend.name() == "torch" and nested:
        raise UsageError(
            "PyTorch cannot trace groups of inputs, as OpenVINO needs it; set "
            "KERAS_BACKEND to tensorflow, which reads the same files"
        )
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
            format="tf_saved_model" if format == "saved_model" else format,
            verbose=False,
        )
    got = READERS[format](path, inputs)
    difference = float(np.max(np.abs(got - expected)))
    if not difference <= tolerance * max(1.0, float(np.abs(expected).max())):
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


def check_format(format: str) -> None:
    """Makes sure that this process can write a format and read it again.

    Args:
        format: one of `FORMATS`.

    Raises:
        UsageError: if the format is unknown, this backend cannot write it,
            or a package is missing.
    """
    if format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}; choose one of {', '.join(FORMATS)}"
        )
    able = FORMATS[format]
    if backend.name() not in able:
        raise UsageError(
            f"the backend {backend.name()!r} cannot write {format}; set "
            f"KERAS_BACKEND to {' or '.join(able)}, which read the same files"
        )
    needed = [able[backend.name()]]
    needed += ["onnx", "onnxruntime"] if format == "onnx" else []
    missing = [p for p in needed if importlib.util.find_spec(p) is None]
    if missing:
        raise UsageError(
            f"this export needs {', '.join(missing)}; run: pip install "
            f"'keras-multi[{EXTRAS.get(format, 'export')}]'"
        )


def _run_onnx(path: Path, inputs: dict[str, Any]) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    flat = _flat(inputs)
    names = [one.name for one in session.get_inputs()]
    return np.asarray(session.run(None, {n: flat[n] for n in names})[0])


def _run_saved_model(path: Path, inputs: dict[str, Any]) -> np.ndarray:
    layer = keras.layers.TFSMLayer(str(path), call_endpoint="serve")
    return np.asarray(layer(inputs))


def _run_litert(path: Path, inputs: dict[str, Any]) -> np.ndarray:
    return np.asarray(backend.framework().run_litert(path, _flat(inputs)))


def _run_openvino(path: Path, inputs: dict[str, Any]) -> np.ndarray:
    import openvino

    # Left to itself, it takes bfloat16 where the processor can.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path), "CPU", exact)
    return np.asarray(model(_flat(inputs))[0])


READERS: dict[str, Callable[[Path, dict[str, Any]], np.ndarray]] = {
    "onnx": _run_onnx,
    "saved_model": _run_saved_model,
    "litert": _run_litert,
    "openvino": _run_openvino,
}
