"""A reader of GGUF, the file format of llama.cpp, for files from anywhere.

A file holds metadata and tensors, many of them quantised in blocks of 32. The
layout is told in `docs/gguf.md` of https://github.com/ggml-org/ggml. Reading
runs no code: every count and offset is compared with what is left of the file
before anything is made of it, and tensors stay in the file, mapped into
memory, until they are asked for.
"""

import mmap
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_multi.errors import DataError
from keras_multi.presets.dequantize import KINDS, Kind

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_DIMENSIONS = 4
STRING, ARRAY = 8, 9
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
SMALLEST_ENTRY = 8 + 4 + 1  # an empty key, a type, one byte
SMALLEST_TENSOR = 8 + 4 + 8 + 4 + 8  # an empty name, one dimension


class TensorInfo(NamedTuple):
    """Where a tensor is.

    Attributes:
        shape: the last axis is that along which the file goes first.
        kind: how its values are written.
        start: first byte in the file.
    """

    shape: tuple[int, ...]
    kind: Kind
    start: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return prod(self.shape) // self.kind.values * self.kind.bytes


class GGUF:
    """Metadata and tensors of a file.

    Args:
        content: the whole file.

    Attributes:
        metadata: key to number, truth value, string, or list of these.
        tensors: name to place and shape.

    Raises:
        DataError: if the content is no GGUF of a known version, is truncated
            or damaged, or has tensors of an unknown kind.

    Example:
        >>> empty = struct.pack("<4sIQQ", MAGIC, 3, 0, 0)
        >>> GGUF(empty).metadata
        {}
    """

    def __init__(self, content: bytes | mmap.mmap) -> None:
        reader = _Reader(content)
        if reader.take(4) != MAGIC:
            raise DataError("the file is no GGUF")
        version = reader.number("<I")
        if version not in VERSIONS:
            raise DataError(
                f"the file is GGUF of version {version}; versions "
                f"{VERSIONS[0]} and {VERSIONS[1]} are known"
            )
        tensors, entries = reader.number("<Q"), reader.number("<Q")
        reader.check_count(entries, SMALLEST_ENTRY)
        self.metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = reader.string()
            self.metadata[key] = reader.value(reader.number("<I"))
        reader.check_count(tensors, SMALLEST_TENSOR)
        infos = [reader.tensor() for _ in range(tensors)]

        alignment = self.metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= 2**16:
            raise DataError(f"the alignment {alignment!r} makes no sense")
        data = -(-reader.position // alignment) * alignment
        self._content = content
        self.tensors = {
            name: info._replace(start=data + info.start) for name, info in infos
        }
        if len(self.tensors) < tensors:
            raise DataError("two tensors have the same name")
        for name, info in self.tensors.items():
            if info.start % alignment or info.start + info.size > len(content):
                raise DataError(
                    f"the tensor {name!r} does not lie within the file"
                )
        if sum(info.size for info in self.tensors.values()) > len(content):
            raise DataError("the tensors lie one above the other")

    @classmethod
    def open(cls, path: Path) -> "GGUF":
        """Maps a file into memory and reads its header.

        Args:
            path: the file.

        Raises:
            DataError: if it cannot be read; see also the class.
        """
        try:
            with path.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:  # A file of no bytes cannot be mapped.
            raise DataError(f"{path} is empty") from error
        try:
            return cls(content)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def array(self, name: str) -> np.ndarray:
        """Gives a tensor as float32.

        Args:
            name: of the tensor.

        Raises:
            DataError: if there is no such tensor.
        """
        if name not in self.tensors:
            raise DataError(f"the file has no tensor {name!r}")
        info = self.tensors[name]
        blocks = np.frombuffer(
            self._content, np.uint8, info.size, info.start
        ).reshape(-1, info.kind.bytes)
        return info.kind.decode(blocks).reshape(info.shape)


class _Reader:
    """Takes one thing after the other from the header."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self.content = content
        self.position = 0

    def take(self, size: int) -> bytes:
        self.check_count(size, 1)
        self.position += size
        return self.content[self.position - size : self.position]

    def check_count(self, count: int, smallest: int) -> None:
        """Raises if so many things of this size cannot be in what is left."""
        left = len(self.content) - self.position
        if count * smallest > left:
            raise DataError(
                f"the file is truncated or damaged: at byte {self.position:,} "
                f"it announces {count * smallest:,} bytes, and {left:,} are "
                "left"
            )

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def string(self) -> str:
        raw = self.take(self.number("<Q"))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"a string is no UTF-8: {error}") from error

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self._array(self.number("<I"), self.number("<Q"))
        return self.number(_scalar(kind))

    def _array(self, kind: int, count: int) -> list[Any]:
        if kind == STRING:
            self.check_count(count, 8)
            return [self.string() for _ in range(count)]
        code = _scalar(kind)
        size = struct.calcsize(code)
        self.check_count(count, size)
        raw = self.take(count * size)
        return [value for (value,) in struct.iter_unpack(code, raw)]

    def tensor(self) -> tuple[str, TensorInfo]:
        """Takes the entry of a tensor, whose start counts from the data."""
        name = self.string()
        dimensions = self.number("<I")
        if not 0 < dimensions <= MOST_DIMENSIONS:
            raise DataError(
                f"the tensor {name!r} has {dimensions} dimensions, not 1 to "
                f"{MOST_DIMENSIONS}"
            )
        # The file names first the axis along which it goes first.
        shape = tuple(self.number("<Q") for _ in range(dimensions))[::-1]
        number, start = self.number("<I"), self.number("<Q")
        if number not in KINDS:
            known = ", ".join(kind.name for kind in KINDS.values())
            raise DataError(
                f"the tensor {name!r} is of the kind {number}, which is not "
                f"known; known are {known}"
            )
        kind = KINDS[number]
        if 0 in shape or shape[-1] % kind.values:
            raise DataError(
                f"the tensor {name!r} has the shape {shape}, which {kind.name} "
                "cannot have"
            )
        return name, TensorInfo(shape, kind, start)


def _scalar(kind: int) -> str:
    if kind not in SCALARS:
        raise DataError(f"a value is of the kind {kind}, which is not known")
    return SCALARS[kind]


def field(metadata: Mapping[str, Any], key: str, kind: type) -> Any:
    """Gives a field of the metadata.

    Args:
        metadata: of a `GGUF`.
        key: of the field.
        kind: the type of the value: `int`, `float`, `str` or `list`.

    Raises:
        DataError: if there is no such field, or it is of another type.
    """
    value = metadata.get(key)
    if type(value) is not kind:
        raise DataError(
            f"the metadata have {value!r:.60} as {key}, not a value of the "
            f"type {kind.__name__}"
        )
    return value
