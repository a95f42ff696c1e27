"""Conversations as prompts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from keras_multi.errors import DataError, UsageError
from nlp.generation import Generator
from nlp.tokenizer import Tokenizer


def prompt(
    messages: str | Sequence[Mapping[str, str]], tokenizer: Tokenizer | None
) -> str:
    """Writes a conversation as the model has learned to read it.

    The template comes with the model. It runs in a sandbox, without access to
    Python.

    Args:
        messages: what a user says; or all that was said, each a mapping with
            `role` (`"system"`, `"user"` or `"assistant"`) and `content`.
        tokenizer: of the model.

    Returns:
        A text that the answer is to follow.

    Raises:
        UsageError: if the model has no template.
        DataError: if the template cannot be filled with the messages.

    Example:
        >>> tokenizer = Tokenizer.from_files({"<end>": 0}, [], "<end>")
        >>> tokenizer.chat_template = "{{ messages[0]['content'] }}: "
        >>> prompt("Hello", tokenizer)
        'Hello: '
    """
    if tokenizer is None or tokenizer.chat_template is None:
        raise UsageError(
            "the model has no template of a conversation; leave chat out, or "
            "take an instruct model such as smollm2_135m_instruct"
        )
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True
    )
    try:
        template = environment.from_string(tokenizer.chat_template)
        return template.render(
            messages=messages,
            add_generation_prompt=True,
            eos_token=tokenizer.end_of_text,
        )
    except jinja2.TemplateError as error:
        raise DataError(f"the chat template fails: {error}") from error


class Conversation:
    """A conversation with a model, which sees what was said before.

    What does not fit into the context any more is forgotten, the oldest
    question with its answer first.

    Args:
        generator: of a model with a chat template.
        system: what the model is told before all; its own default if `None`.
        max_new_tokens: largest number of tokens of an answer.
        **options: of `Generator.generate`.

    Attributes:
        messages: all that was said, as `prompt` takes it.
    """

    def __init__(
        self,
        generator: Generator,
        system: str | None = None,
        max_new_tokens: int = 256,
        **options: Any,
    ) -> None:
        self.messages: list[dict[str, str]] = []
        self._system = [] if system is None else [_message("system", system)]
        self._generator = generator
        self._limit = max_new_tokens
        self._options = options

    def answer(
        self, question: str, show: Callable[[str], None] | None = None
    ) -> str:
        """Answers a question.

        Args:
            question: what a user says.
            show: called with each new piece of the answer.

        Raises:
            UsageError: if the model has no template, or the question alone
                does not fit into the context.
        """
        self.messages.append(_message("user", question))
        tokenizer: Any = self._generator.tokenizer
        text = prompt(self._system + self.messages, tokenizer)
        room = self._generator.max_length - self._limit
        while len(self.messages) > 1 and len(tokenizer.encode(text)) > room:
            del self.messages[:2]
            text = prompt(self._system + self.messages, tokenizer)

        def callback(row: int, piece: str) -> None:
            if show is not None:
                show(piece)

        whole: str = self._generator.generate(
            text, self._limit, callback=callback, **self._options
        )
        answer = whole.removeprefix(text)
        self.messages.append(_message("assistant", answer))
        return answer


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
