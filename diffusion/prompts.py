"""Prompts with weights, of any length, as what a text encoder makes of them."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from diffusion.tokenizer import CLIPTokenizer
from keras_multi.errors import UsageError

MAX_CHUNKS = 16

# An escaped bracket, or `(text:weight)` with no bracket inside.
_WEIGHTED = re.compile(r"\\([()])|\(([^()]+):(\d+(?:\.\d*)?|\.\d+)\)")


def parse(prompt: str) -> list[tuple[str, float]]:
    r"""Parts a prompt by weight.

    Args:
        prompt: `(text:1.2)` in it has the weight 1.2, all the rest 1.
            Brackets without a weight are text, and so is `\(`.

    Example:
        >>> parse("a (red:1.5) apple (fruit)")
        [('a ', 1.0), ('red', 1.5), (' apple (fruit)', 1.0)]
    """
    parts, plain, done = [], "", 0
    for match in _WEIGHTED.finditer(prompt):
        plain += prompt[done : match.start()]
        done = match.end()
        escaped, text, weight = match.groups()
        if escaped:
            plain += escaped
            continue
        parts += [(plain, 1.0), (text, float(weight))]
        plain = ""
    parts.append((plain + prompt[done:], 1.0))
    return [part for part in parts if part[0]]


def tokenize(
    tokenizer: CLIPTokenizer, prompts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Turns prompts into chunks of tokens, as many for each.

    Args:
        tokenizer: of the text encoder, whose length is that of a chunk.
        prompts: see `parse`.

    Returns:
        Ids, int32 `(B, chunks, L)`, and their weights, float32. Each chunk
        has its own start and end.

    Raises:
        UsageError: if a prompt is no text or too long.
    """
    room = tokenizer.max_length - 2
    rows = []
    for prompt in prompts:
        if not isinstance(prompt, str):
            raise UsageError(f"a prompt must be a str. Received: {prompt!r}")
        tokens = [
            (i, weight)
            for text, weight in parse(prompt)
            for i in tokenizer.encode(text)
        ]
        if len(tokens) > MAX_CHUNKS * room:
            raise UsageError(
                f"a prompt may have {MAX_CHUNKS * room} tokens. "
                f"Received: {len(tokens)}"
            )
        rows.append(tokens)
    chunks = max(1, *(-(-len(tokens) // room) for tokens in rows))
    shape = (len(rows), chunks, tokenizer.max_length)
    ids, weights = np.empty(shape, "int32"), np.ones(shape, "float32")
    for row, tokens in enumerate(rows):
        for chunk in range(chunks):
            some = tokens[chunk * room : (chunk + 1) * room]
            ids[row, chunk] = tokenizer.frame([i for i, _ in some])
            weights[row, chunk, 1 : len(some) + 1] = [w for _, w in some]
    return ids, weights


def encode(
    encoder: Callable[[Any], Any],
    tokenizer: CLIPTokenizer,
    prompts: Sequence[str],
) -> Any:
    """Encodes prompts.

    A token with the weight w is moved from what the empty prompt has in its
    place to w times as far.

    Args:
        encoder: makes `(N, L, D)` of int32 `(N, L)`.
        tokenizer: of the encoder.
        prompts: see `parse`. A longer one is encoded chunk by chunk, the
            results one after the other; shorter ones beside it get empty
            chunks.

    Returns:
        float32 `(B, chunks * L, D)`.

    Raises:
        UsageError: if a prompt is no text or too long.
    """
    ids, weights = tokenize(tokenizer, prompts)
    batch, chunks, length = ids.shape
    rows = ids.reshape(-1, length)
    unique, places = np.unique(
        np.concatenate([tokenizer.frame([])[None], rows]),
        axis=0,
        return_inverse=True,
    )
    more = (1 << (len(unique) - 1).bit_length()) - len(unique)
    padded = np.pad(unique, [(0, more), (0, 0)], mode="edge")
    encoded = ops.cast(encoder(ops.convert_to_tensor(padded)), "float32")
    places = places.reshape(-1).astype("int32")
    result = ops.take(encoded, ops.convert_to_tensor(places[1:]), axis=0)
    if np.any(weights != 1):
        empty = encoded[int(places[0])][None]
        factor = ops.convert_to_tensor(weights.reshape(-1, length, 1))
        result = empty + factor * (result - empty)
    return ops.reshape(result, (batch, chunks * length, -1))
