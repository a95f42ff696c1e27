import functools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion.tokenizer import END, START, CLIPTokenizer, parse_merges
from keras_multi.errors import DataError, UsageError

TEXTS = [
    "",
    " ",
    "a photograph of an astronaut riding a horse",
    "It's a cat's life, they'll SHOUT: I'd've gone!",
    "Émigré naïve Ünïcode İstanbul ﬁne e\u0301",
    "12345 3.14 100% $5 a1b2",
    "🍎👩‍🚀 ❤️ 漢字 かな 한국어 العربية",
    "tabs\tand\nnewlines  and   spaces\u00a0\u3000end ",
    "<|startoftext|>inside<|endoftext|> out",
    "(masterpiece:1.2), [best] -- quality___ ~~",
    "\x00\x07control\u200bzero",
    "word " * 100,
]


@functools.cache
def ours():
    return CLIPTokenizer.clip(progress=False)


@functools.cache
def theirs():
    """That of transformers, made of the same merges."""
    from transformers import CLIPTokenizer as Reference

    model = json.loads(ours().tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return Reference(vocab=model["vocab"], merges=merges)


def test_the_vocabulary_is_that_of_clip():
    known = {"a</w>": 320, "horse</w>": 4558, "!": 0, START: 49406, END: 49407}
    assert len(ours()) == 49_408
    vocabulary = ours().tokenizer.get_vocab(with_added_tokens=True)
    assert {token: vocabulary[token] for token in known} == known
    assert ours()(["a photo of a cat"])[0, :8].tolist() == [
        49406, 320, 1125, 539, 320, 2368, 49407, 49407,
    ]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_equal_transformers(text):
    expected = theirs()(
        text, padding="max_length", truncation=True, max_length=77
    )
    assert ours()(text)[0].tolist() == expected["input_ids"]


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_tokens_of_any_text_equal_transformers(text):
    expected = theirs()(text, add_special_tokens=False)["input_ids"]
    assert ours().encode(text) == expected


def test_words_only():
    tokenizer = CLIPTokenizer.from_words(["Red", "apple", "red"], 6)
    assert len(tokenizer) == 5
    rows = tokenizer(["RED apple!", "", "a red, green apple tree here"])
    np.testing.assert_array_equal(
        rows,
        [[1, 3, 4, 2, 2, 2], [1, 2, 2, 2, 2, 2], [1, 0, 3, 0, 4, 2]],
    )
    assert rows.dtype == "int32"


def test_a_folder_comes_back(tmp_path):
    for tokenizer in (
        CLIPTokenizer.from_words(["red"], 5),
        CLIPTokenizer(ours().tokenizer, pad="!"),
    ):
        tokenizer.save(tmp_path)
        read = CLIPTokenizer.from_folder(tmp_path)
        np.testing.assert_array_equal(read(TEXTS), tokenizer(TEXTS))
        assert read.pad_id == tokenizer.pad_id


def test_the_files_of_transformers_are_read(tmp_path):
    vocabulary = {"a": 0, "b</w>": 1, "ab</w>": 2, START: 3, END: 4, "!": 5}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 5, "pad_token": {"content": "!"}})
    )
    tokenizer = CLIPTokenizer.from_folder(tmp_path)
    assert tokenizer("AB b").tolist() == [[3, 2, 1, 4, 5]]
    (tmp_path / "merges.txt").write_text("a b</w> c\n")
    with pytest.raises(DataError, match=r"merges.txt: line 1"):
        CLIPTokenizer.from_folder(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(DataError, match=r"cannot read .*merges.txt"):
        CLIPTokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.json").write_text("[")
    with pytest.raises(DataError, match=r"vocab.json is damaged"):
        CLIPTokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(DataError, match=r"cannot read .*tokenizer.json"):
        CLIPTokenizer.from_folder(tmp_path)


def test_bad_arguments_are_refused():
    tokenizer = CLIPTokenizer.from_words(["red"], 5)
    with pytest.raises(UsageError, match="must be a str"):
        tokenizer([3])
    with pytest.raises(UsageError, match="no Unicode"):
        tokenizer("\ud800")
    with pytest.raises(UsageError, match="Received: 2"):
        CLIPTokenizer.from_words(["red"], 2)
    with pytest.raises(DataError, match="no token '!'"):
        CLIPTokenizer(tokenizer.tokenizer, pad="!")
    with pytest.raises(DataError, match="damaged"):
        CLIPTokenizer.from_json("{}")
    with pytest.raises(DataError, match="do not fit"):
        CLIPTokenizer.from_files({START: 0, END: 1}, [("a", "b")])
    with pytest.raises(DataError, match="line 2"):
        parse_merges("a b\nc")
