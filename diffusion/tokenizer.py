"""The tokenizer of CLIP: lower case, words, and pairs merged within them."""

import functools
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.data.sources import Wheel
from keras_multi.errors import DataError, UsageError

START = "<|startoftext|>"
END = "<|endoftext|>"
UNKNOWN = "<|unknown|>"
END_OF_WORD = "</w>"
NUM_MERGES = 48_894  # of those in the file, as many as CLIP uses

# Radford et al. 2021, "Learning Transferable Visual Models From Natural
# Language Supervision", section 2.4: what is a word.
WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
    r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)

CLIP_VOCABULARY = FileSet(
    name="clip-vocabulary",
    description="The merges of CLIP's tokenizer.",
    licence="MIT.",
    homepage="https://github.com/openai/CLIP",
    sources=(
        Wheel(
            requirement="open_clip_torch==3.3.0",
            sha256="c549ad5ed6bfc119cc11105033c0a2b9"
            "d7a2a4afeb40a58a09aab3da1a0043ce",
            members=("open_clip/bpe_simple_vocab_16e6.txt.gz",),
        ),
    ),
)


class CLIPTokenizer:
    """Turns prompts into token ids.

    Needs `pip install 'keras-multi[text]'`.

    Args:
        tokenizer: a `tokenizers.Tokenizer`, with a token for the start and
            one for the end of a text.
        max_length: number of tokens that a text encoder takes.
        pad: the token after the end; that of the end by default. Stable
            Diffusion 2 has `"!"`.

    Attributes:
        start_id: token before a text.
        end_id: token after it.
        pad_id: token that fills the rest.

    Raises:
        DataError: if one of the tokens is missing.
        UsageError: if `max_length` leaves no room for a text.

    Example:
        >>> tokenizer = CLIPTokenizer.from_words(["red", "apple"], 6)
        >>> tokenizer(["A red apple"]).tolist()
        [[1, 0, 3, 4, 2, 2]]
    """

    def __init__(
        self, tokenizer: Any, max_length: int = 77, pad: str | None = None
    ) -> None:
        if max_length < 3:
            raise UsageError(
                "max_length must leave room for a start, a token and an end. "
                f"Received: {max_length}"
            )
        ids = []
        for token in (START, END, END if pad is None else pad):
            ids.append(tokenizer.token_to_id(token))
            if ids[-1] is None:
                raise DataError(f"the vocabulary has no token {token!r}")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.start_id: int = ids[0]
        self.end_id: int = ids[1]
        self.pad_id: int = ids[2]

    @classmethod
    def from_files(
        cls,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        max_length: int = 77,
        pad: str | None = None,
    ) -> Self:
        """Makes a tokenizer from its tokens and merges.

        Args:
            vocabulary: id of each token. The bytes of a text are written as
                characters, and the last of a word has `"</w>"` after it.
            merges: pairs of tokens, the first to be merged first.
            max_length: number of tokens that a text encoder takes.
            pad: the token after the end; that of the end by default.

        Raises:
            UsageError: if tokenizers is not installed.
            DataError: if a merge gives a token that there is not.
        """
        lib = _library()
        try:
            model = lib.models.BPE(
                dict(vocabulary),
                list(merges),
                end_of_word_suffix=END_OF_WORD,
                unk_token=END,
            )
        except Exception as error:  # The library raises no narrower class.
            raise DataError(f"the merges do not fit: {error}") from error
        tokenizer = lib.Tokenizer(model)
        tokenizer.normalizer = lib.normalizers.Sequence(
            [
                lib.normalizers.NFC(),
                lib.normalizers.Replace(lib.Regex(r"\s+"), " "),
                lib.normalizers.Lowercase(),
            ]
        )
        tokenizer.pre_tokenizer = lib.pre_tokenizers.Sequence(
            [
                lib.pre_tokenizers.Split(
                    lib.Regex(WORDS), behavior="removed", invert=True
                ),
                lib.pre_tokenizers.ByteLevel(
                    add_prefix_space=False, use_regex=True
                ),
            ]
        )
        tokenizer.decoder = lib.decoders.ByteLevel()
        tokenizer.add_special_tokens([START, END])
        tokenizer.post_processor = _frame(lib, tokenizer)
        return cls(tokenizer, max_length, pad)

    @classmethod
    def from_words(cls, words: Iterable[str], max_length: int = 77) -> Self:
        """Makes a tokenizer that knows whole words only.

        Words are parted by anything but letters and digits, and written in
        lower case. All others become one token.

        Args:
            words: those to know; doubles are left out.
            max_length: number of tokens that a text encoder takes.

        Raises:
            UsageError: if tokenizers is not installed.
        """
        lib = _library()
        tokens = dict.fromkeys([UNKNOWN, START, END, *map(str.lower, words)])
        vocabulary = {token: i for i, token in enumerate(tokens)}
        tokenizer = lib.Tokenizer(lib.models.WordLevel(vocabulary, UNKNOWN))
        tokenizer.normalizer = lib.normalizers.Lowercase()
        tokenizer.pre_tokenizer = lib.pre_tokenizers.Split(
            lib.Regex(r"[\p{L}\p{N}]+"), behavior="removed", invert=True
        )
        tokenizer.add_special_tokens([UNKNOWN, START, END])
        tokenizer.post_processor = _frame(lib, tokenizer)
        return cls(tokenizer, max_length)

    @classmethod
    def clip(
        cls,
        pad: str | None = None,
        cache_dir: Path | None = None,
        progress: bool = True,
    ) -> Self:
        """Makes the tokenizer of CLIP; the first call fetches its merges.

        Args:
            pad: the token after the end; that of the end by default.
            cache_dir: folder of downloads; `default_cache_dir()` if not
                given.
            progress: whether to report a download on standard error.

        Raises:
            UsageError: if tokenizers is not installed.
            DataError: if the file cannot be fetched.
        """
        root = default_cache_dir() if cache_dir is None else Path(cache_dir)
        (packed,) = CLIP_VOCABULARY.files(root, progress).values()
        lines = gzip.decompress(packed).decode("utf-8").split("\n")
        merges = parse_merges("\n".join(lines[1 : NUM_MERGES + 1]))
        letters = sorted(_library().pre_tokenizers.ByteLevel.alphabet())
        tokens = letters + [letter + END_OF_WORD for letter in letters]
        tokens += [first + second for first, second in merges]
        vocabulary = {t: i for i, t in enumerate([*tokens, START, END])}
        return cls.from_files(vocabulary, merges, pad=pad)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Reads the folder `tokenizer` of a diffusers folder.

        Args:
            folder: with `vocab.json` and `merges.txt`, or `tokenizer.json`;
                `tokenizer_config.json` may tell the length and the token
                that fills the rest.

        Raises:
            UsageError: if tokenizers is not installed.
            DataError: if a file is missing or damaged.
        """
        config, path = {}, folder / "tokenizer_config.json"
        try:
            if path.exists():
                config = json.loads(path.read_text(encoding="utf-8"))
            length = min(int(config.get("model_max_length", 77)), 10_000)
            pad = config.get("pad_token")
            pad = pad["content"] if isinstance(pad, dict) else pad
            path = folder / "vocab.json"
            if path.exists():
                vocabulary = json.loads(path.read_text(encoding="utf-8"))
                path = folder / "merges.txt"
                merges = parse_merges(path.read_text(encoding="utf-8"))
                return cls.from_files(vocabulary, merges, length, pad)
            path = folder / "tokenizer.json"
            text = path.read_text(encoding="utf-8")
            return cls.from_json(text, length, pad)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged: {error}") from error

    @classmethod
    def from_json(
        cls, text: str, max_length: int = 77, pad: str | None = None
    ) -> Self:
        """Makes a tokenizer from the text of a `tokenizer.json`.

        Raises:
            UsageError: if tokenizers is not installed.
            DataError: if the text is damaged.
        """
        lib = _library()
        try:
            tokenizer = lib.Tokenizer.from_str(text)
        except Exception as error:  # The library raises no narrower class.
            raise DataError(f"the tokenizer is damaged: {error}") from error
        return cls(tokenizer, max_length, pad)

    def add(self, word: str) -> int:
        """Makes a word a token of its own; gives its id, the next one.

        Args:
            word: found in texts as it is written here.

        Raises:
            UsageError: if it is a token already.
        """
        if self.tokenizer.token_to_id(word) is not None:
            raise UsageError(f"{word!r} is a token already")
        token = _library().AddedToken(word, normalized=False)
        self.tokenizer.add_tokens([token])
        return int(self.tokenizer.token_to_id(word))

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        text = self.tokenizer.to_str()
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.max_length,
            "bos_token": START,
            "eos_token": END,
            "pad_token": self.tokenizer.id_to_token(self.pad_id),
        }
        text = json.dumps(config, indent=2) + "\n"
        (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")

    def __len__(self) -> int:
        """Number of tokens."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def __call__(self, prompts: str | Sequence[str]) -> np.ndarray:
        """Turns prompts into rows of one length; longer ones are cut.

        Args:
            prompts: a text or several.

        Returns:
            int32 `(B, max_length)`: start, text, end, and what fills the
            rest.

        Raises:
            UsageError: if a prompt is no text.
        """
        if isinstance(prompts, str):
            prompts = [prompts]
        return np.stack([self.frame(self.encode(text)) for text in prompts])

    def frame(self, ids: Sequence[int]) -> np.ndarray:
        """Puts start, end and filling around tokens, int32 `(max_length,)`."""
        row = np.full(self.max_length, self.pad_id, "int32")
        ids = [self.start_id, *ids[: self.max_length - 2], self.end_id]
        row[: len(ids)] = ids
        return row

    def encode(self, text: str) -> list[int]:
        """Turns a text into ids, without start and end.

        Raises:
            UsageError: if it is no text, or holds half a surrogate pair,
                which UTF-8 cannot write.
        """
        if not isinstance(text, str):
            raise UsageError(f"a prompt must be a str. Received: {text!r}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(f"the prompt is no Unicode: {error}") from error
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        return list(encoding.ids)


def parse_merges(text: str) -> list[tuple[str, str]]:
    """Reads the lines of `merges.txt`.

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


def _frame(lib: Any, tokenizer: Any) -> Any:
    """Tells others who read the tokenizer of start and end."""
    return lib.processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[
            (token, tokenizer.token_to_id(token)) for token in (START, END)
        ],
    )


@functools.cache
def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UsageError(
            "prompts need the package tokenizers; run: "
            "pip install 'keras-multi[text]'"
        ) from error
    return tokenizers
