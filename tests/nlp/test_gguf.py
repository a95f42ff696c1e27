import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlp
from keras_multi.errors import DataError, UsageError
from nlp import GPT2
from tests.nlp.llama_case import END, START, VOCABULARY, reference, write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def expected():
    return reference(num_hidden_layers=1)


def test_reads_arguments_and_tokenizer(expected, tmp_path):
    model = nlp.load(write(tmp_path / "x.gguf", expected), max_length=64)
    config = model.get_config()
    assert (config["max_length"], config["rotary_base"]) == (64, 50.0)
    assert config["num_key_value_heads"] == 2
    tokenizer = model.tokenizer
    assert (len(tokenizer), tokenizer.end_of_text) == (VOCABULARY, END)
    assert tokenizer.encode(f"{START}AB1 {END}") == [0, 40, 17, 59, 60]
    assert tokenizer.chat_template.startswith("{% for message")


def test_reads_a_file_that_leaves_out_what_it_may(tmp_path):
    expected = reference(num_hidden_layers=1, num_key_value_heads=4)
    path = write(
        tmp_path / "x.gguf",
        expected,
        llama__attention__head_count_kv=None,
        llama__rope__freq_base=None,
        tokenizer__chat_template=None,
    )
    model = nlp.load(path)
    assert (model.num_key_value_heads, model.rotary_base) == (4, 10000.0)
    assert model.tokenizer.chat_template is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general__architecture": "bert"}, "type 'bert'"),
        ({"llama__block_count": 2**32 - 1}, "announces 4294967295 blocks"),
        ({"llama__block_count": 2}, r"lacks blk.1.attn_k.weight \(and 8"),
        ({"llama__block_count": 0}, "block_count is 0"),
        ({"llama__block_count": "two"}, "not a value of the type int"),
        ({"llama__feed_forward_length": 21}, r"ffn_gate.weight has the shape"),
        ({"llama__attention__head_count": 3}, "has the shape"),
        (
            {
                "llama__attention__head_count": 32,
                "llama__attention__head_count_kv": 16,
            },
            "into even parts",
        ),
        ({"llama__rope__scaling__type": "yarn"}, "rope.scaling.type"),
        ({"llama__rope__dimension_count": 4}, "a part of the features"),
        ({"tokenizer__ggml__model": "llama"}, "kind .'llama', 'smollm'"),
        ({"tokenizer__ggml__pre": "qwen2"}, "kind .'gpt2', 'qwen2'"),
        ({"tokenizer__ggml__eos_token_id": VOCABULARY}, "do not fit"),
        ({"tokenizer__ggml__token_type": [1]}, "do not fit"),
        ({"tokenizer__ggml__merges": ["A C"]}, "merges do not fit"),
        ({"tokenizer__ggml__merges": [1]}, "something else than strings"),
    ],
)
def test_says_what_is_wrong_with_a_file(changes, message, expected, tmp_path):
    path = write(tmp_path / "x.gguf", expected, **changes)
    with pytest.raises(DataError, match=message):
        nlp.load(path)


def test_a_damaged_file_is_always_told(expected, tmp_path):
    path = write(tmp_path / "x.gguf", expected)
    good = path.read_bytes()

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
    def check(position, patch):
        path.write_bytes(
            good[:position] + patch + good[position + len(patch) :]
        )
        with contextlib.suppress(DataError):
            nlp.load(path)

    check()


def test_refuses_a_head_of_its_own(tmp_path):
    expected = reference(num_hidden_layers=1, tie_word_embeddings=False)
    with pytest.raises(DataError, match=r"Llama has no output.weight"):
        nlp.load(write(tmp_path / "x.gguf", expected))


def test_refuses_what_the_weights_cannot_be(expected, tmp_path):
    path = write(tmp_path / "x.gguf", expected)
    with pytest.raises(UsageError, match="cannot make the model"):
        nlp.load(path, num_heads=5)
    with pytest.raises(UsageError, match="do not fit a model with"):
        nlp.load(path, num_layers=2)
    with pytest.raises(UsageError, match="is a Llama, not a GPT2"):
        GPT2.from_preset(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="does not lie within the file"):
        nlp.load(path)
