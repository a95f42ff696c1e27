"""Text to train on, as packed sequences of tokens."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_multi.errors import DataError
from nlp.tokenizer import Tokenizer

TEST_SHARE = 10  # every tenth text is for the test


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
    texts: Sequence[str], tokenizer: Tokenizer, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Joins texts to sequences of equal length, without gaps.

    The end of a text comes before each, and once more after the last. A
    sequence begins with the last token of the one before, so that each token
    is predicted once.

    Args:
        texts: texts.
        tokenizer: turns them into tokens.
        length: tokens that are predicted per sequence.

    Returns:
        int32 tokens `(sequences, length + 1)`, and the weight of each
        predicted token, float32 `(sequences, length)`: 0 where the last
        sequence is filled up.
    """
    tokens = [tokenizer.end_id]
    for ids in tokenizer.encode_batch(texts):
        tokens += [*ids, tokenizer.end_id]
    predicted = len(tokens) - 1
    rows = -(-predicted // length)
    padded = np.full(rows * length + 1, tokenizer.end_id, "int32")
    padded[: len(tokens)] = tokens
    starts = np.arange(rows)[:, None] * length
    weights = np.arange(rows * length) < predicted
    return (
        padded[starts + np.arange(length + 1)],
        weights.reshape(rows, length).astype("float32"),
    )
