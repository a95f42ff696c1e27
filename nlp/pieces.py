"""The tokenizers of keras-nlp: SentencePiece, and byte-pair encoding."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Self

from keras_multi.errors import DataError, UsageError
from nlp.tokenizer import StreamingDecoder, Tokenizer, parse_merges

SPACE = "\u2581"  # how a piece writes a space
BYTE = re.compile("<0x([0-9A-F]{2})>")


class PieceTokenizer:
    """Turns texts into the pieces of a SentencePiece model and back.

    Kudo and Richardson 2018, "SentencePiece". It offers what generation asks
    of a `Tokenizer`.

    Args:
        processor: a `sentencepiece.SentencePieceProcessor`.
        end_of_text: the piece that ends a text.

    Raises:
        UsageError: if there is no such piece.
    """

    chat_template: str | None = None
    start_ids: tuple[int, ...] = ()

    def __init__(self, processor: Any, end_of_text: str) -> None:
        self._processor = processor
        self.end_of_text = end_of_text
        self.end_id: int = processor.PieceToId(end_of_text)
        if processor.IdToPiece(self.end_id) != end_of_text:
            raise UsageError(f"there is no piece {end_of_text!r}")
        self._bytes = [self._bytes_of(processor, i) for i in range(len(self))]

    @classmethod
    def from_proto(cls, proto: bytes, end_of_text: str) -> Self:
        """Makes a tokenizer of a serialised model.

        Args:
            proto: the content of a file `.spm` or `.model`.
            end_of_text: the piece that ends a text.
        """
        import sentencepiece

        return cls(
            sentencepiece.SentencePieceProcessor(model_proto=proto),
            end_of_text,
        )

    def __len__(self) -> int:
        """Number of pieces."""
        return int(self._processor.vocab_size())

    def encode(self, text: str) -> list[int]:
        """Turns a text into ids."""
        return [int(i) for i in self._processor.EncodeAsIds(text)]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Turns texts into ids."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Turns ids into a text; broken characters become U+FFFD."""
        text = self.decode_bytes(ids).decode("utf-8", errors="replace")
        return text.removeprefix(" ")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Gives the bytes that pieces stand for; a word begins with a space.

        Raises:
            UsageError: if there is no piece of an id.
        """
        try:
            return b"".join(self._bytes[int(i)] for i in ids)
        except IndexError as error:
            raise UsageError(f"there is no piece of an id: {error}") from error

    def stream(self) -> StreamingDecoder:
        """Makes a decoder that takes one token at a time."""
        return StreamingDecoder(self)

    @staticmethod
    def _bytes_of(processor: Any, i: int) -> bytes:
        piece = str(processor.IdToPiece(i))
        if byte := BYTE.fullmatch(piece):
            return bytes([int(byte[1], 16)])
        return piece.replace(SPACE, " ").encode("utf-8")


def tokenizer_of(task: Any) -> Any:
    """Makes the tokenizer of a task of keras-nlp.

    Returns:
        A `Tokenizer` or a `PieceTokenizer`.

    Raises:
        DataError: if the task has none, or one of an unknown kind.
    """
    theirs: Any = getattr(task.preprocessor, "tokenizer", None)
    if getattr(theirs, "proto", None):
        return PieceTokenizer.from_proto(theirs.proto, theirs.end_token)
    if not getattr(theirs, "merges", None):
        raise DataError(
            "the tokenizer is neither byte-pair encoding nor SentencePiece: "
            f"{type(theirs).__name__}"
        )
    special = [str(token) for token in theirs.special_tokens]
    vocabulary = {str(token): int(i) for token, i in theirs.vocabulary.items()}
    merges = parse_merges("\n".join(map(str, theirs.merges)))
    return Tokenizer.from_files(vocabulary, merges, theirs.end_token, special)
