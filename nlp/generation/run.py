"""Runs a loop on prompts: compiled once for sizes that double."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from nlp.generation.beam import BeamLoop
from nlp.generation.contrastive import ContrastiveLoop
from nlp.generation.decoder import kernels
from nlp.generation.loop import Task, TokenLoop
from nlp.generation.prompts import bucket
from nlp.generation.speculative import SpeculativeLoop

Loop = TokenLoop | BeamLoop | ContrastiveLoop | SpeculativeLoop


def run(
    loop: Loop,
    weights: Any,
    prompts: Sequence[tuple[Sequence[int], Sequence[int]]],
    max_new_tokens: int,
    chunk: int,
) -> Iterator[np.ndarray]:
    """Yields new tokens as soon as some more are there.

    Args:
        loop: what to run.
        weights: what it takes.
        prompts: the tokens of each, and the seed of its draws.
        max_new_tokens: number of tokens to append.
        chunk: number of tokens to yield at a time.

    Yields:
        int32 `(prompts, n)`. After the end of a text anything may stand.
    """
    width = bucket(max(len(ids) for ids, _ in prompts))
    slots = bucket(width + max_new_tokens + loop.extra_slots)
    tokens = np.zeros((len(prompts), width), "int32")
    for row, (ids, _) in zip(tokens, prompts, strict=True):
        row[width - len(ids) :] = ids
    draws = [
        np.random.default_rng(seed).random(
            slots * loop.draws_per_token, "float32"
        )
        for _, seed in prompts
    ]
    starts = [width - len(ids) for ids, _ in prompts]
    task = Task(
        ops.convert_to_tensor(starts, "int32"),
        ops.convert_to_tensor(width, "int32"),
        ops.convert_to_tensor(np.stack(draws)),
    )
    prefill, decode = _compiled(loop)
    state = prefill(weights, ops.convert_to_tensor(tokens), task)
    done = 0
    while done < max_new_tokens:
        limit = min(done + chunk, max_new_tokens)
        state = decode(
            weights, state, task, ops.convert_to_tensor(limit, "int32")
        )
        new = ops.convert_to_numpy(loop.result(state))
        yield new[:, width + done : width + limit]
        done = limit


@functools.lru_cache(maxsize=64)
def _compiled(loop: Loop) -> tuple[Callable[..., Any], Callable[..., Any]]:
    compile_loop = kernels().loop
    return compile_loop(loop.prefill), compile_loop(loop.decode)
