import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_multi.data import default_cache_dir
from keras_multi.errors import DataError, UsageError
from nlp.tokenizer import (
    END_OF_TEXT,
    GPT2_VOCABULARY,
    Tokenizer,
    parse_merges,
)

pytestmark = pytest.mark.slow

TEXTS = [
    "",
    "Hello, world!",
    "  two  spaces\n\n\tand tabs \r\n",
    "it's they'll I'VE don't",
    "naïve café – 東京 здравствуй \U0001f469‍\U0001f680 ﷽",
    "12345 6.789 0x1F ½ ²",
    "\x00\x7f\ufeff\u2028\u00a0x",
    f"one{END_OF_TEXT}two",
]


@pytest.fixture(scope="module")
def gpt2():
    return Tokenizer.gpt2(progress=False)


@pytest.fixture(scope="module")
def tiktoken_gpt2():
    """Another implementation, made from the same files."""
    import tiktoken

    files = GPT2_VOCABULARY.files(default_cache_dir(), progress=False)
    byte_of = {
        chr(b): b for b in [*range(33, 127), *range(161, 173), *range(174, 256)]
    }
    for byte in range(256):
        if byte not in byte_of.values():
            byte_of[chr(256 + len(byte_of) - 188)] = byte
    ranks = {
        bytes(byte_of[c] for c in token): i
        for token, i in json.loads(files["encoder.json"]).items()
        if token != END_OF_TEXT
    }
    return tiktoken.Encoding(
        "gpt2",
        pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
        r"|\s+(?!\S)|\s+",
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: 50256},
    )


def test_knows_all_tokens(gpt2):
    assert len(gpt2) == 50257
    assert gpt2.end_id == 50256
    assert gpt2.encode("Hello world") == [15496, 995]


@pytest.mark.parametrize("text", TEXTS)
def test_equals_tiktoken(text, gpt2, tiktoken_gpt2):
    ids = gpt2.encode(text)
    assert ids == tiktoken_gpt2.encode(text, allowed_special="all")
    assert gpt2.decode(ids) == text


@pytest.mark.parametrize("text", [*TEXTS, "a  1 22\n 3", "٣x10²"])
def test_digits_stand_alone_if_asked_for(text, tiktoken_gpt2):
    files = GPT2_VOCABULARY.files(default_cache_dir(), progress=False)
    digits = Tokenizer.from_files(
        json.loads(files["encoder.json"]),
        parse_merges(files["vocab.bpe"].decode("utf-8")),
        split_digits=True,
    )
    expected = []
    for part in re.split(f"({re.escape(END_OF_TEXT)})", text):
        pieces = [part]
        if part != END_OF_TEXT:
            pieces = re.findall(r"[0-9½²٣]|[^0-9½²٣]+", part)
        for piece in pieces:
            expected += tiktoken_gpt2.encode(piece, allowed_special="all")
    assert digits.encode(text) == expected
    assert digits.decode(expected) == text


def test_equals_tiktoken_on_any_text(gpt2, tiktoken_gpt2):
    character = st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \n\t'abcsStTlLveERe0123é東\U0001f680\u00a0"),
    )

    # Ten texts an example: 10,000 in all.
    @settings(max_examples=1000, deadline=None)
    @given(st.lists(st.text(character, max_size=30), min_size=10, max_size=10))
    def check(texts):
        for text, ids in zip(texts, gpt2.encode_batch(texts), strict=True):
            assert ids == tiktoken_gpt2.encode(text, allowed_special="all")
            assert gpt2.decode(ids) == text
            decoder = gpt2.stream()
            assert "".join(map(decoder.push, ids)) + decoder.end() == text

    check()


def test_equals_tiktoken_on_prose(gpt2, tiktoken_gpt2):
    from pydoc_data.topics import topics

    prose = "\n".join(topics.values())
    assert gpt2.encode(prose) == tiktoken_gpt2.encode_ordinary(prose)


def test_equals_transformers(gpt2, tmp_path):
    from transformers import AutoTokenizer

    (tmp_path / "tokenizer.json").write_text(gpt2.to_json())
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert gpt2.encode(text) == theirs(text)["input_ids"]


def test_decodes_any_ids_as_python_decodes_their_bytes(gpt2, tiktoken_gpt2):
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.integers(0, 50256), max_size=20))
    def check(ids):
        text = gpt2.decode(ids)
        assert text == tiktoken_gpt2.decode(ids)
        decoder = gpt2.stream()
        parts = [decoder.push(i) for i in ids]
        assert "".join(parts) + decoder.end() == text

    check()


def test_streams_whole_characters(gpt2):
    ids = gpt2.encode("\U0001f469‍\U0001f680")
    assert len(ids) > 3
    decoder = gpt2.stream()
    assert set("".join(map(decoder.push, ids))) == set("\U0001f469‍\U0001f680")
    decoder = gpt2.stream()
    assert decoder.push(ids[0]) == ""
    assert decoder.end() == "�"


def test_reads_the_folders_that_others_write(tmp_path):
    vocabulary = {"a": 0, "b": 1, "ab": 2, END_OF_TEXT: 3}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    ours = Tokenizer.from_folder(tmp_path)
    assert ours.encode("abba") == [2, 1, 0]
    (tmp_path / "tokenizer.json").write_text(ours.to_json())
    (tmp_path / "merges.txt").unlink()
    again = Tokenizer.from_folder(tmp_path)
    assert again.encode(f"abba{END_OF_TEXT}") == [2, 1, 0, 3]
    assert len(again) == 4


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "cannot read .*vocab.json"),
        ({"vocab.json": "{"}, "vocab.json is damaged"),
        ({"vocab.json": "{}"}, "cannot read .*merges.txt"),
        ({"vocab.json": "{}", "merges.txt": "a b c"}, "no pair"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b"}, "do not fit"),
        ({"tokenizer.json": "{}"}, "tokenizer.json.* damaged"),
    ],
)
def test_says_which_file_is_wrong(files, message, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        Tokenizer.from_folder(tmp_path)


def test_refuses_other_kinds():
    import tokenizers

    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "a"))
    with pytest.raises(DataError, match="not byte-level"):
        Tokenizer(words)
    byte_level = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, []))
    byte_level.decoder = tokenizers.decoders.ByteLevel()
    with pytest.raises(DataError, match="no token"):
        Tokenizer(byte_level)


def test_refuses_what_is_no_text(gpt2):
    with pytest.raises(UsageError, match="no Unicode"):
        gpt2.encode("\ud800")
    with pytest.raises(UsageError, match="must be a str"):
        gpt2.encode(b"bytes")
    with pytest.raises(UsageError, match="no token 50257"):
        gpt2.decode([50257])


def test_parses_merges_that_start_with_a_hash():
    assert parse_merges("#version: 0.2\n# #\n\n") == [("#", "#")]
