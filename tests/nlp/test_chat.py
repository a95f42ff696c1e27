import pytest

from keras_multi.errors import DataError, UsageError
from nlp import Tokenizer
from nlp.chat import prompt
from tests.nlp.llama_case import END, TEMPLATE

pytestmark = pytest.mark.slow


@pytest.fixture
def tokenizer():
    return Tokenizer.from_files({"a": 0, END: 1}, [], END)


def test_writes_a_conversation_as_chatml(tokenizer):
    tokenizer.chat_template = TEMPLATE
    assert prompt("Hi", tokenizer) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "{{ 1 + 1 }}"},
    ]
    assert prompt(messages, tokenizer) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n{{ 1 + 1 }}<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    "template",
    ["{% for", "{{ ''.__class__.__mro__ }}", "{{ messages.clear() }}"],
)
def test_a_bad_template_is_told(template, tokenizer):
    tokenizer.chat_template = template
    with pytest.raises(DataError, match="chat template fails"):
        prompt("Hi", tokenizer)


def test_a_model_without_template_is_told(tokenizer):
    for given in (tokenizer, None):
        with pytest.raises(UsageError, match="no template"):
            prompt("Hi", given)
