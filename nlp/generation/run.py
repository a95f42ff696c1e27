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
    max_length: int,
    compiled: bool = False,
) -> Iterator[np.ndarray]:
    """Yields new tokens as soon as some more are there.

    Args:
        loop: what to run.
        weights: what it takes.
        prompts: the tokens of each, and the seed of its draws.
        max_new_tokens: number of tokens to append.
        chunk: number of tokens to yield at a time.
        max_length: number of tokens that the model can look at.
        compiled: whether PyTorch compiles what it does for each token. The
            other backends compile all in any case.

    Yields:
        int32 `(prompts, n)`. After the end of a text anything may stand.
    """
    longest = max(len(ids) for ids, _ in prompts)
    width = min(bucket(longest), max_length)
    slots = bucket(width + max_new_tokens + loop.extra_slots, compiled)
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
    prefill, decode = _compiled(loop, compiled)
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
def _compiled(
    loop: Loop, compiled: bool
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Gives the functions that read the prompts and that go on from there."""
    step: Callable[..., Any] = loop.step
    if compiled:
        step = kernels.compiled_step(step)

    def decode(weights: Any, state: Any, task: Task, limit: Any) -> Any:
        kind = type(state)

        def unfinished(*variables: Any) -> Any:
            now = kind(*variables)
            going = ops.logical_not(ops.all(now.finished))
            return ops.logical_and(now.step < limit, going)

        def body(*variables: Any) -> tuple[Any, ...]:
            return tuple(step(weights, kind(*variables), task, limit))

        return kind(*ops.while_loop(unfinished, body, tuple(state)))

    return kernels.loop(loop.prefill), kernels.token_loop(decode)
