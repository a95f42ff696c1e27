"""Text to train on, as packed sequences of tokens."""

import importlib
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from keras_multi.errors import DataError
from keras_multi.files import replacing
from nlp.tokenizer import Tokenizer

TEST_SHARE = 10  # every tenth text is for the test
# A text is turned into tokens in parts, so that few lists are there at a time.
CHARACTERS_AT_ONCE, PARTS_AT_ONCE = 100_000, 8
LINE_END = re.compile(r"(?<=\S)\n(?=\S)")


class Texts(NamedTuple):
    """A text in two parts that share nothing.

    Attributes:
        train: texts to train on.
        test: texts to measure on.
    """

    train: list[str]
    test: list[str]


def load(source: str) -> Texts:
    """Reads a text and splits it.

    Args:
        source: `"pydoc"`, the help texts of Python's documentation, a tenth
            of whose topics are for the test; or the path of a text file in
            UTF-8, whose last tenth is.

    Raises:
        DataError: if the file cannot be read or is too short.
    """
    if source == "pydoc":
        topics = importlib.import_module("pydoc_data.topics").topics
        # Some topics have the same text.
        texts = list(dict.fromkeys(topics[name] for name in sorted(topics)))
        return Texts(
            [t for i, t in enumerate(texts) if i % TEST_SHARE],
            texts[::TEST_SHARE],
        )
    try:
        text = Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot read {source}: {error.strerror}; give pydoc or a text file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is no UTF-8: {error}") from error
    cut = len(text) - len(text) // TEST_SHARE
    if cut == len(text):
        raise DataError(f"{source} is too short: {len(text)} characters")
    return Texts([text[:cut]], [text[cut:]])


def pack(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    length: int,
    path: Path | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Joins texts to sequences of equal length, without gaps.

    The end of a text comes before each, and once more after the last. A
    sequence begins with the last token of the one before, so that each token
    is predicted once.

    Args:
        texts: texts.
        tokenizer: turns them into tokens.
        length: tokens that are predicted per sequence.
        path: file for the tokens, which then stay on the disk and are mapped
            into memory; in memory if `None`.

    Returns:
        int32 tokens `(sequences, length + 1)`, and the weight of each
        predicted token, float32 `(sequences, length)`: 0 where the last
        sequence is filled up.

    Raises:
        KerasMultiError: if the file cannot be written.
    """
    if path is None:
        parts: list[np.ndarray] = []
        predicted = _write(texts, tokenizer, length, parts.append)
        tokens = np.concatenate(parts)
    else:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            predicted = _write(
                texts, tokenizer, length, lambda part: part.tofile(file)
            )
        tokens = np.memmap(path, "int32", "r")
    sequences = sliding_window_view(tokens, length + 1)[::length]
    weights = np.arange(len(sequences) * length) < predicted
    return sequences, weights.reshape(-1, length).astype("float32")


def _write(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    length: int,
    write: Callable[[np.ndarray], Any],
) -> int:
    """Writes all tokens, filled up to whole sequences.

    Returns:
        How many of them are predicted: all but the first and the filling.
    """
    end = [tokenizer.end_id]
    write(np.array(end, "int32"))
    predicted = 0
    for text in texts:
        parts = _parts(text)
        for first in range(0, len(parts), PARTS_AT_ONCE):
            some = parts[first : first + PARTS_AT_ONCE]
            for ids in tokenizer.encode_batch(some):
                write(np.array(ids, "int32"))
                predicted += len(ids)
        write(np.array(end, "int32"))
        predicted += 1
    write(np.full(-predicted % length, tokenizer.end_id, "int32"))
    return predicted


def _parts(text: str) -> list[str]:
    """Cuts a long text where no token can reach across.

    A line ends there, and neither it nor the next begins or ends in a space,
    since the tokenizer joins these.
    """
    cuts, first = [0], 0
    while match := LINE_END.search(text, first + CHARACTERS_AT_ONCE):
        first = match.end()
        cuts.append(first)
    return [text[a:b] for a, b in pairwise([*cuts, len(text)])]
