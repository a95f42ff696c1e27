import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_multi.errors import DataError
from keras_multi.presets import read_safetensors, write_safetensors

ARRAYS = {
    "a": np.arange(6, dtype="float32").reshape(2, 3),
    "half": np.array([0.5, -2], "float16"),
    "scalar": np.array(7, "int64"),
    "none": np.zeros((0, 3), "uint8"),
    "brain": np.array([1.5, 3], ml_dtypes.bfloat16),
    "turned": np.arange(6, dtype="float64").reshape(2, 3).T,
}


def test_safetensors_reads_what_is_written(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, ARRAYS, {"format": "pt"})
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"format": "pt"}
    theirs = safetensors.numpy.load_file(path)
    ours = read_safetensors(path)
    assert list(ours) == list(ARRAYS)
    for name, array in ARRAYS.items():
        for read in (theirs[name], ours[name]):
            assert read.dtype == array.dtype
            assert np.array_equal(read, array)


def test_reads_what_safetensors_writes(tmp_path):
    path = tmp_path / "x.safetensors"
    arrays = {k: v.copy(order="C") for k, v in ARRAYS.items()}
    safetensors.numpy.save_file(arrays, path)
    for name, array in read_safetensors(path).items():
        assert np.array_equal(array, ARRAYS[name])


def file_of(header, numbers=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\x80\x02}q", "header is truncated"),
        (file_of({"a": ENTRY}, bytes(7)), "a is incomplete"),
        (file_of({"a": ENTRY}, bytes(9)), "something after"),
        (file_of({"a": {**ENTRY, "shape": [3]}}, bytes(8)), "another size"),
        (file_of({"a": {**ENTRY, "dtype": "F8"}}, bytes(8)), "a as F8"),
        (file_of({"a": {**ENTRY, "shape": [-2]}}, bytes(8)), "another size"),
        (file_of({"a": {"dtype": "F32"}}), "shape"),
        (file_of({"a": 3}), "damaged"),
        (file_of([1]), "damaged"),
        (b"\x03" + bytes(7) + b"not", "damaged"),
    ],
)
def test_says_how_a_file_is_damaged(tmp_path, content, reason):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_safetensors(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*x\.safetensors"):
        read_safetensors(tmp_path / "x.safetensors")
