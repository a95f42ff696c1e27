import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from keras_multi.errors import DataError
from keras_multi.presets import read_torch_file


def tensors():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(4, 6, generator=generator)
    return {
        "table": table,
        "transposed": table.T,
        "part": table[1:3, ::2],
        "half": table.half(),
        "double": table.double(),
        "count": torch.tensor(7),
        "small": torch.arange(5, dtype=torch.int16),
        "signed": torch.arange(-3, 3, dtype=torch.int8),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "integers": torch.arange(3, dtype=torch.int32),
        "nothing": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


def saved(state, modern=True):
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=modern)
    return file.getvalue()


@pytest.mark.parametrize("modern", [True, False])
def test_reads_what_torch_reads(modern):
    content = saved(tensors(), modern)
    expected = torch.load(io.BytesIO(content), weights_only=True)
    got = read_torch_file(content)
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        array = tensor.detach().numpy()
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)


@pytest.mark.parametrize("modern", [True, False])
def test_reads_the_state_of_a_module(modern):
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)
    )
    got = read_torch_file(saved(module.state_dict(), modern))
    assert list(got) == list(module.state_dict())
    np.testing.assert_array_equal(
        got["0.weight"], module[0].weight.detach().numpy()
    )


class Attack:
    def __reduce__(self):
        return os.mkdir, ("made-by-attack",)


def with_pickle(data):
    """A file of PyTorch whose pickle is this one."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", bytes(16))
    return content.getvalue()


def hostile(storage=(b"0", 4), offset=0, shape=(4,), strides=(1,)):
    """A file with one tensor, declared at will."""
    key, length = storage

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, collections.Counter):
                kind = torch.FloatStorage
                return ("storage", kind, key.decode(), "cpu", length)
            return None

    class Tensor:
        def __reduce__(self):
            counter = collections.Counter()
            return torch._utils._rebuild_tensor_v2, (
                *(counter, offset, shape, strides),
                *(False, collections.OrderedDict()),
            )

    file = io.BytesIO()
    Pickler(file, protocol=2).dump({"x": Tensor()})
    return with_pickle(file.getvalue())


def test_a_tensor_made_by_hand_is_read():
    np.testing.assert_array_equal(read_torch_file(hostile())["x"], np.zeros(4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "."),
        (b"import os", "."),
        (saved({"x": Attack()}), "asks for 'posix mkdir'"),
        (saved(Attack(), modern=False), "asks for"),
        (saved({"x": 3}), "'x' is no tensor"),
        (saved([torch.ones(1)]), "by name"),
        (saved(tensors())[:-100], "."),
        (saved(tensors(), modern=False)[:-50], "."),
        (with_pickle(b"\x80\x02}q"), "."),
        (with_pickle(b"\x80\x02cos\nsystem\n."), "asks for 'os system'"),
        (with_pickle(b"\x80\x02\x8c\x02os."), "asks for SHORT_BINUNICODE"),
        (hostile(shape=(5,)), "exceeds its storage"),
        (hostile(offset=2), "exceeds its storage"),
        (hostile(offset=-1), "impossible shape"),
        (hostile(strides=(-1,)), "impossible shape"),
        (hostile(shape=(9**9, 9**9), strides=(0, 0)), "exceeds its storage"),
        (hostile(storage=(b"0", 9)), "truncated"),
        (hostile(storage=(b"1", 4)), "data/1"),
    ],
)
def test_all_else_is_refused(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"holds no PyTorch.*{message}"):
        read_torch_file(content)
    assert not any(tmp_path.iterdir())


def test_a_compressed_file_is_refused():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    with pytest.raises(DataError, match="compressed"):
        read_torch_file(packed.getvalue())
