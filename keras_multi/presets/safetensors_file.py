"""Reads and writes tensors as safetensors, a format that runs no code."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_multi.errors import DataError, UsageError
from keras_multi.files import replacing


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a safetensors file.

    Args:
        path: the file.

    Returns:
        Name to array, bfloat16 as that of `ml_dtypes`.

    Raises:
        UsageError: if safetensors is not installed.
        DataError: if the file is missing, truncated or damaged, or has
            tensors of another kind.
    """
    safetensors = _library()
    try:
        # Opened here, since the library does not tell why it cannot.
        with Path(path).open("rb"):
            pass
        with safetensors.safe_open(path, "numpy") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot read {path}: {reason}") from error
    except (safetensors.SafetensorError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def write_safetensors(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a safetensors file.

    Args:
        path: the file; it is replaced at the end.
        arrays: name to array.
        metadata: texts to write beside them.

    Raises:
        UsageError: if safetensors is not installed.
        KerasMultiError: if the file cannot be written.
    """
    safetensors = _library()
    whole = {name: np.asarray(x, order="C") for name, x in arrays.items()}
    with replacing(path) as temporary:
        safetensors.numpy.save_file(
            whole, temporary, dict(metadata) if metadata else None
        )


def _library() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise UsageError(
            "weights on disk need the package safetensors; run: "
            "pip install 'keras-multi[text]'"
        ) from error
    return safetensors
