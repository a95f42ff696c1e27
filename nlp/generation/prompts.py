"""What people give to `generate`, and what they get back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_multi import backend
from keras_multi.errors import UsageError
from nlp.generation.text import TextStream
from nlp.tokenizer import Tokenizer

SMALLEST_BUCKET = 16


class Row:
    """The new tokens of one prompt, as they come.

    Args:
        stream: gives out the text; `None` if ids are wanted.
        stop_ids: tokens that end it.

    Attributes:
        ids: the new tokens, the one that ended the text included.
        text: the new text.
        finished: whether the text has ended.
    """

    def __init__(
        self, stream: TextStream | None, stop_ids: Sequence[int]
    ) -> None:
        self.ids: list[int] = []
        self.text = ""
        self.finished = False
        self._stream = stream
        self._stop_ids = frozenset(stop_ids)

    def push(self, token: int) -> Any:
        """Takes a token; gives it, or the characters that are new."""
        self.ids.append(token)
        self.finished = token in self._stop_ids
        if self._stream is None:
            return token
        piece = "" if self.finished else self._stream.push(token)
        self.finished = self.finished or self._stream.stopped
        self.text += piece
        return piece

    def end(self) -> str:
        """Gives the characters that have waited, once all tokens are in."""
        piece = "" if self._stream is None else self._stream.end()
        self.text += piece
        return piece


class Prompts:
    """Prompts of any kind as lists of ids.

    Attributes:
        ids: the tokens of each prompt.
        texts: the prompts, if they are texts.
    """

    def __init__(
        self,
        given: Any,
        ids: list[list[int]],
        texts: list[str] | None,
        tokenizer: Tokenizer | None,
    ) -> None:
        self.ids = ids
        self.texts = texts
        self._given = given
        self._tokenizer = tokenizer

    @classmethod
    def of(cls, given: Any, tokenizer: Tokenizer | None) -> "Prompts":
        """Reads prompts.

        Args:
            given: a text, a list of texts, a list of lists of ids, or an
                integer array `(batch, tokens)`.
            tokenizer: of the model.

        Raises:
            UsageError: if it is something else, there are no prompts or
                tokens, or texts are given and there is no tokenizer.
        """
        try:
            items = [given] if isinstance(given, str) else list(given)
        except TypeError as error:
            raise UsageError(
                "prompts must be a text, a list of texts, or token ids. "
                f"Received: prompts={given!r}"
            ) from error
        texts = None
        if items and all(isinstance(item, str) for item in items):
            if tokenizer is None:
                raise UsageError(
                    "the model has no tokenizer; give token ids, or a "
                    "tokenizer to the model"
                )
            texts = items
            start = tokenizer.start_ids
            ids = [[*start, *ids] for ids in tokenizer.encode_batch(texts)]
        else:
            ids = [_ids(item) for item in items]
        if not ids or not all(ids):
            raise UsageError(
                "a prompt must have at least one token. "
                f"Received: prompts={given!r}"
            )
        return cls(given, ids, texts, tokenizer)

    @property
    def are_texts(self) -> bool:
        """Whether the prompts are texts."""
        return self.texts is not None

    def rows(self, stops: Sequence[str], stop_ids: Sequence[int]) -> list[Row]:
        """Makes what collects the new tokens of each prompt."""

        def stream() -> TextStream | None:
            if self.texts is None or self._tokenizer is None:
                return None
            return TextStream(self._tokenizer, stops)

        return [Row(stream(), stop_ids) for _ in self.ids]

    def result(self, rows: Sequence[Row], filler: int) -> Any:
        """Gives prompts and new tokens, of the type of the prompts.

        Args:
            rows: what `rows` made, filled.
            filler: token after the end of a row in an array.
        """
        if self.texts is not None:
            texts = [
                text + row.text
                for text, row in zip(self.texts, rows, strict=True)
            ]
            return texts[0] if isinstance(self._given, str) else texts
        whole = [ids + row.ids for ids, row in zip(self.ids, rows, strict=True)]
        if isinstance(self._given, list | tuple):
            return whole
        array = np.full((len(whole), max(map(len, whole))), filler, "int32")
        for line, ids in zip(array, whole, strict=True):
            line[: len(ids)] = ids
        return array


def _ids(item: Any) -> list[int]:
    try:
        array = np.asarray(item)
    except ValueError:  # Lists of unequal lengths inside.
        array = np.array(None)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise UsageError(
            "a prompt must be a text or a sequence of token ids. "
            f"Received: {item!r}"
        )
    return [int(i) for i in array]


def bucket(size: int, compiled: bool = False) -> int:
    """Rounds a number of tokens up, where each new one costs a compilation.

    Args:
        size: the number.
        compiled: whether PyTorch compiles too.
    """
    if backend.modes()[0] == "eager" and not compiled:
        return size
    return max(SMALLEST_BUCKET, 1 << (size - 1).bit_length())
