"""Conversations as prompts."""

from collections.abc import Mapping, Sequence

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from keras_multi.errors import DataError, UsageError
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
