import itertools
import struct
import tracemalloc
import warnings

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Quantized
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_multi.errors import DataError
from keras_multi.presets.gguf import GGUF, field

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal((6, 64)).astype("float32")
KINDS = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file with a tensor of each kind, written by the `gguf` package."""
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_rope_freq_base(1e5)
    writer.add_bool("flag", True)
    writer.add_int64("negative", -5)
    writer.add_token_list(["a", "é", ""])
    writer.add_token_types([1, 3, 1])
    for kind in KINDS:
        writer.add_tensor(
            kind,
            gguf.quants.quantize(VALUES, Quantized[kind]),
            raw_dtype=Quantized[kind],
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_reads_metadata(path):
    assert GGUF.open(path).metadata == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.rope.freq_base": 1e5,
        "flag": True,
        "negative": -5,
        "tokenizer.ggml.tokens": ["a", "é", ""],
        "tokenizer.ggml.token_type": [1, 3, 1],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_values_equal_those_of_the_gguf_package(kind, path):
    ours = GGUF.open(path).array(kind)
    raw = gguf.quants.quantize(VALUES, Quantized[kind])
    expected = gguf.quants.dequantize(raw, Quantized[kind])
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, expected)
    assert np.abs(ours - VALUES).max() < 0.4


def header(tensors=0, entries=0, rest=b"", version=3):
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, entries) + rest


def text(value):
    return struct.pack("<Q", len(value)) + value


def tensor(name=b"t", shape=(4,), kind=0, start=0):
    return (
        text(name)
        + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        + struct.pack("<IQ", kind, start)
    )


LARGE = 2**63
ONE = struct.pack("<I", 4) + struct.pack("<I", 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (b"PK\3\4", "no GGUF"),
        (header(version=1), "version 1"),
        (header(tensors=LARGE), "announces"),
        (header(entries=LARGE), "announces"),
        (header(0, 1, struct.pack("<Q", LARGE) + b"key"), "announces"),
        (header(0, 1, text(b"\xff") + ONE), "no UTF-8"),
        (header(0, 1, text(b"k") + struct.pack("<I", 13)), "kind 13"),
        (
            header(0, 1, text(b"k") + struct.pack("<IIQ", 9, 0, LARGE)),
            "announces",
        ),
        (
            header(0, 1, text(b"k") + struct.pack("<IIQ", 9, 8, LARGE)),
            "announces",
        ),
        # A list of lists of lists ...
        (
            header(0, 1, text(b"k") + struct.pack("<IIQ", 9, 9, 1) * 99),
            "kind 9",
        ),
        (
            header(0, 1, text(b"general.alignment") + struct.pack("<II", 4, 0)),
            "alignment 0",
        ),
        (header(1, 0, tensor(shape=(1,) * 5)), "5 dimensions"),
        (header(1, 0, tensor(shape=()) + bytes(8)), "0 dimensions"),
        (header(1, 0, tensor(shape=(0,))), "shape"),
        (header(1, 0, tensor(kind=12)), "kind 12"),
        (header(1, 0, tensor(shape=(31,), kind=8)), "Q8_0 cannot have"),
        (header(1, 0, tensor(shape=(LARGE, LARGE))), "lie within"),
        (header(1, 0, tensor(start=LARGE)), "lie within"),
        (header(1, 0, tensor(start=1) + bytes(64)), "lie within"),
        (header(2, 0, tensor() * 2 + bytes(99)), "same name"),
        (
            header(
                2,
                0,
                tensor(shape=(32,)) + tensor(b"u", (32,)) + bytes(6 + 128),
            ),
            "one above the other",
        ),
    ],
    ids=itertools.count(),
)
def test_says_what_is_wrong(content, message):
    with pytest.raises(DataError, match=message):
        GGUF(content)


def test_says_which_file_is_wrong(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none"):
        GGUF.open(tmp_path / "none")
    (tmp_path / "x.gguf").write_bytes(b"")
    with pytest.raises(DataError, match=r"x.gguf is empty"):
        GGUF.open(tmp_path / "x.gguf")
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(DataError, match=r"x.gguf: the file is truncated"):
        GGUF.open(tmp_path / "x.gguf")


def test_says_which_part_is_missing(path):
    model = GGUF.open(path)
    with pytest.raises(DataError, match="no tensor 'x'"):
        model.array("x")
    assert field(model.metadata, "llama.block_count", int) == 2
    for key in ("flag", "absent"):
        with pytest.raises(DataError, match=f"as {key}, not a value"):
            field(model.metadata, key, int)


def test_a_damaged_file_is_always_told(path):
    good = path.read_bytes()

    @settings(max_examples=400, deadline=None)
    @given(
        st.integers(0, 800),
        st.binary(min_size=1, max_size=9),
        st.integers(0, len(good)) | st.just(len(good)),
    )
    def check(position, patch, length):
        damaged = good[:position] + patch + good[position + len(patch) :]
        read(damaged[:length])

    check()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_told(content, with_magic):
    read(header(1, 1, content) if with_magic else content)


def read(content):
    """Reads everything; nothing but a DataError may come of it."""
    tracemalloc.start()
    try:
        model = GGUF(content)
        for name in model.tensors:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Infinite scales.
                assert model.array(name).dtype == np.float32
    except DataError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 100 * len(content) + 2**20
