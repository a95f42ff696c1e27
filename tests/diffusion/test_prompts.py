import numpy as np
import pytest
from keras import ops

from diffusion.prompts import MAX_CHUNKS, encode, parse, tokenize
from diffusion.tokenizer import CLIPTokenizer
from keras_multi.errors import UsageError
from tests.diffusion.tiny import TinyTextEncoder, built

TOKENIZER = CLIPTokenizer.from_words(["red", "green", "apple"], 6)
EMPTY = [1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("", []),
        ("an apple", [("an apple", 1.0)]),
        ("(red:1.2)", [("red", 1.2)]),
        ("a (red:.5) apple", [("a ", 1.0), ("red", 0.5), (" apple", 1.0)]),
        ("(a b:2)(c:0)", [("a b", 2.0), ("c", 0.0)]),
        (r"\(red:1.2\)", [("(red:1.2)", 1.0)]),
        ("f(x) :-) (35mm) ((", [("f(x) :-) (35mm) ((", 1.0)]),
        ("(red:heavy) (red:)", [("(red:heavy) (red:)", 1.0)]),
        ("((red:2))", [("(", 1.0), ("red", 2.0), (")", 1.0)]),
    ],
)
def test_weights_are_read(prompt, parts):
    assert parse(prompt) == parts


def test_long_prompts_become_chunks():
    ids, weights = tokenize(
        TOKENIZER, ["red apple (green:3) red (green apple:2)", "red"]
    )
    assert ids.tolist() == [
        [[1, 3, 5, 4, 3, 2], [1, 4, 5, 2, 2, 2]],
        [[1, 3, 2, 2, 2, 2], EMPTY],
    ]
    assert weights.tolist() == [
        [[1, 1, 1, 3, 1, 1], [1, 2, 2, 1, 1, 1]],
        [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]],
    ]


def test_weights_move_tokens_from_the_empty_prompt():
    encoder = built(TinyTextEncoder())
    plain, heavy = (
        ops.convert_to_numpy(encode(encoder, TOKENIZER, [prompt]))
        for prompt in ("a red apple", "a (red:1.5) apple")
    )
    expected = np.array([[1, 0, 3, 5, 2, 2]], "float32")
    np.testing.assert_array_equal(plain[..., 0], expected)
    expected[0, 2] = 2 + 1.5 * (3 - 2)  # the empty prompt has 2 there
    np.testing.assert_array_equal(heavy[..., 0], expected)
    np.testing.assert_array_equal(heavy[..., 1], plain[..., 1])


def test_prompts_keep_their_order():
    prompts = ["green", "red apple", "green", "", "red"]
    together = encode(built(TinyTextEncoder()), TOKENIZER, prompts)
    for prompt, row in zip(
        prompts, ops.convert_to_numpy(together), strict=True
    ):
        np.testing.assert_array_equal(row[:, 0], TOKENIZER(prompt)[0])


def test_bad_prompts_are_refused():
    room = MAX_CHUNKS * 4
    assert tokenize(TOKENIZER, ["red " * room])[0].shape == (1, MAX_CHUNKS, 6)
    with pytest.raises(
        UsageError, match=f"{room} tokens. Received: {room + 1}"
    ):
        tokenize(TOKENIZER, ["red " * (room + 1)])
    with pytest.raises(UsageError, match="must be a str"):
        tokenize(TOKENIZER, [None])
