import pytest

from keras_multi.errors import DataError, UsageError
from nlp import Tokenizer
from nlp.chat import Conversation, prompt
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


class Echo:
    """Answers each question with the number of questions that it sees."""

    def __init__(self, tokenizer, max_length):
        self.tokenizer, self.max_length = tokenizer, max_length
        self.seen = []

    def generate(self, text, max_new_tokens, callback, **options):
        self.seen.append(text)
        answer = str(text.count("<|im_start|>user"))
        callback(0, answer)
        return text + answer


class Letters:
    chat_template, end_of_text = TEMPLATE, END

    def encode(self, text):
        return list(text)


def test_a_conversation_goes_on_and_forgets_what_does_not_fit():
    pieces = []
    echo = Echo(Letters(), max_length=230)
    talk = Conversation(echo, "Be brief.", max_new_tokens=20)
    answers = [talk.answer(text, pieces.append) for text in "abcd"]
    assert answers == pieces == ["1", "2", "2", "2"]
    assert "Be brief." in echo.seen[-1]
    assert "\nc<|im_end|>" in echo.seen[-1]
    assert "\nb<|im_end|>" not in echo.seen[-1]
    assert [m["content"] for m in talk.messages[-2:]] == ["d", "2"]
