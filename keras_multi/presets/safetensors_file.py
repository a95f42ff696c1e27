"""Reads and writes tensors as safetensors, without that package.

Such a file is the length of a header, a header in JSON that tells the kind,
the shape and the place of each tensor, and the numbers. Reading maps the file
into memory and copies nothing, so that models of several gigabytes can be
loaded tensor by tensor.
"""

import json
import os
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from keras_multi.errors import DataError
from keras_multi.files import replacing

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": ml_dtypes.bfloat16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}
KINDS = {np.dtype(dtype): kind for kind, dtype in DTYPES.items()}
METADATA = "__metadata__"


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a safetensors file.

    Args:
        path: the file.

    Returns:
        Name to array, in the order of the file. The arrays are read-only and
        lie in the file.

    Raises:
        DataError: if the file is missing, truncated or damaged, or has
            tensors of another kind.
    """
    path = Path(path)
    try:
        content = np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # of an empty file
        raise DataError(f"{path} is damaged: it is empty") from error
    try:
        return dict(_tensors(content))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _tensors(content: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    if start > len(content):
        raise ValueError("its header is truncated")
    header = json.loads(content[8:start].tobytes())
    end = 0
    for name, entry in header.items():
        if name == METADATA:
            continue
        if entry["dtype"] not in DTYPES:
            raise ValueError(
                f"it holds {name} as {entry['dtype']}, which is not known"
            )
        dtype = np.dtype(DTYPES[entry["dtype"]])
        shape = tuple(entry["shape"])
        first, last = entry["data_offsets"]
        size = prod(shape) * dtype.itemsize
        if min(first, *shape, 0) < 0 or last - first != size:
            raise ValueError(f"{name} has another size than its shape")
        if start + last > len(content):
            raise ValueError(f"it is truncated: {name} is incomplete")
        end = max(end, last)
        numbers = content[start + first : start + last]
        yield name, numbers.view(dtype).reshape(shape)
    if start + end != len(content):
        raise ValueError("there is something after its tensors")


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
        KeyError: if there are no safetensors of a kind of an array.
        KerasMultiError: if the file cannot be written.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": KINDS[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # The numbers begin at a multiple of 8.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in arrays.values():
            file.write(
                np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            )
