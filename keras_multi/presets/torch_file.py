"""Reads the tensors of a PyTorch weights file, without PyTorch.

Such a file describes its tensors in a pickle, which is a program. It is not
run here: the few instructions that tensors need are interpreted, the five
names that they refer to are compared as text, and all else is refused.
"""

import io
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from keras_multi.errors import DataError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # begins files before PyTorch 1.6
STORAGES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "<i1",
    "torch ByteStorage": "<u1",
    "torch BoolStorage": "<?",
}
ORDERED_DICT = "collections OrderedDict"
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"


class _Name(str):
    """A module and a name in it."""


class _Storage(NamedTuple):
    key: str
    dtype: str
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(content: bytes) -> dict[str, np.ndarray]:
    """Reads what `torch.save(model.state_dict(), ...)` has written.

    Args:
        content: the file, as PyTorch writes it since version 1.6 or as it
            did before.

    Returns:
        Name to array, in the order of the file.

    Raises:
        DataError: if the file is damaged, holds something else than tensors
            of plain numbers by name, or asks for code to be run.

    Example:
        >>> read_torch_file(b"import os")
        Traceback (most recent call last):
        ...
        keras_multi.errors.DataError: the file holds no PyTorch weights: ...
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            tensors, storages = _open_zip(content)
        else:
            tensors, storages = _open_legacy(io.BytesIO(content))
        return {
            name: _array(tensor, storages) for name, tensor in tensors.items()
        }
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
        zipfile.BadZipFile,
    ) as error:
        raise DataError(
            f"the file holds no PyTorch weights: {error}"
        ) from error


def _open_zip(
    content: bytes,
) -> tuple[dict[str, _Tensor], Mapping[str, bytes]]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    members = archive.infolist()
    if any(m.compress_type or m.flag_bits & 1 for m in members):
        raise ValueError("it is compressed or encrypted")
    if sum(member.file_size for member in members) > len(content):
        raise ValueError("its parts are larger than the whole")
    files = {name.partition("/")[2]: name for name in archive.namelist()}
    order = files.get("byteorder")
    if order is not None and archive.read(order) != b"little":
        raise ValueError("its numbers are big-endian")
    tensors = _state(_interpret(io.BytesIO(archive.read(files["data.pkl"]))))
    keys = {tensor.storage.key for tensor in tensors.values()}
    return tensors, {key: archive.read(files[f"data/{key}"]) for key in keys}


def _open_legacy(
    file: BinaryIO,
) -> tuple[dict[str, _Tensor], Mapping[str, bytes]]:
    """Reads a file of pickles that the storages follow, each after its size."""
    if _interpret(file) != LEGACY_MAGIC:
        raise ValueError("it does not begin as one")
    _interpret(file)  # the version of the format
    if not _interpret(file)["little_endian"]:
        raise ValueError("its numbers are big-endian")
    tensors = _state(_interpret(file))
    known = {t.storage.key: t.storage for t in tensors.values()}
    storages = {}
    for key in _interpret(file):
        length = int.from_bytes(file.read(8), "little")
        if length != known[key].length:
            raise ValueError(f"storage {key} has another length than declared")
        storages[key] = file.read(length * np.dtype(known[key].dtype).itemsize)
    return tensors, storages


def _state(state: Any) -> dict[str, _Tensor]:
    if not isinstance(state, dict):
        raise ValueError("it does not hold tensors by name")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise ValueError(f"{name!r} is no tensor")
    return state


def _array(tensor: _Tensor, storages: Mapping[str, bytes]) -> np.ndarray:
    storage, offset, shape, strides = tensor
    flat = np.frombuffer(storages[storage.key], storage.dtype)
    if len(flat) != storage.length:
        raise ValueError(f"storage {storage.key} is truncated")
    if len(shape) != len(strides) or min(offset, *shape, *strides, 0) < 0:
        raise ValueError("a tensor has an impossible shape")
    if 0 in shape:
        return np.empty(shape, storage.dtype)
    last = offset + sum(
        (size - 1) * stride for size, stride in zip(shape, strides, strict=True)
    )
    if max(last, prod(shape) - 1) >= len(flat):
        raise ValueError("a tensor exceeds its storage")
    return np.lib.stride_tricks.as_strided(
        flat[offset:], shape, [stride * flat.itemsize for stride in strides]
    ).copy()


def _interpret(file: BinaryIO) -> Any:
    """Follows the instructions of one pickle and gives its result."""
    machine = _Machine()
    for instruction, argument, _ in pickletools.genops(file):
        name = instruction.name
        if name == "STOP":
            return machine.stack.pop()
        if name in CONSTANTS:
            machine.stack.append(CONSTANTS[name]())
        elif name in LITERALS:
            machine.stack.append(argument)
        elif name in INSTRUCTIONS:
            INSTRUCTIONS[name](machine, argument)
        elif name != "PROTO":
            raise ValueError(f"it asks for {name}, which tensors do not need")
    raise ValueError("it is truncated")


class _Machine:
    """The stack and the memory of the pickle machine."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def put(self, index: int) -> None:
        self.memory[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memory[index])

    def name(self, name: str) -> None:
        if name not in (ORDERED_DICT, TENSOR, PARAMETER, *STORAGES):
            raise ValueError(f"it asks for {name!r}, which is no tensor")
        self.stack.append(_Name(name))

    def tuple_of(self, size: int) -> None:
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def tuple_since_mark(self, _: None) -> None:
        self.stack.append(tuple(self.since_mark()))

    def set_items(self, pairs: list[Any]) -> None:
        self.stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))

    def set_item(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def set_since_mark(self, _: None) -> None:
        self.set_items(self.since_mark())

    def append(self, _: None) -> None:
        value = self.stack.pop()
        self.stack[-1].append(value)

    def append_since_mark(self, _: None) -> None:
        values = self.since_mark()
        self.stack[-1].extend(values)

    def storage(self, _: None) -> None:
        kind, storage, key, _device, length, *_view = self.stack.pop()
        if kind != "storage" or not isinstance(storage, _Name):
            raise ValueError(f"it refers to {kind!r}, which is no storage")
        self.stack.append(_Storage(key, STORAGES[storage], length))

    def call(self, _: None) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name):
            raise ValueError(f"it calls {function!r}")
        if function == ORDERED_DICT:
            self.stack.append(dict(*arguments))
        elif function == TENSOR:
            self.stack.append(_Tensor(*arguments[:4]))
        elif function == PARAMETER:
            self.stack.append(arguments[0])
        else:
            raise ValueError(f"it calls {str(function)!r}")

    def drop_attributes(self, _: None) -> None:
        self.stack.pop()  # Versions of the modules, which nobody needs.


CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
LITERALS = ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "TUPLE": _Machine.tuple_since_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_since_mark,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_since_mark,
    "BINPERSID": _Machine.storage,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.drop_attributes,
}
