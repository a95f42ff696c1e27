"""Continues texts: from prompts to compiled loops and back to texts."""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.errors import UsageError
from nlp.generation.beam import Beam, BeamLoop
from nlp.generation.decoder import Decoder, weights_of
from nlp.generation.loop import Task, TokenLoop
from nlp.generation.named import find
from nlp.generation.prompts import Prompts, Row, bucket
from nlp.generation.rules import Rules
from nlp.generation.samplers import Greedy, Random
from nlp.generation.score import Score, score
from nlp.gpt2 import GPT2

TOKENS_BETWEEN_STOPS = 8  # how often texts are searched for stop strings

Callback = Callable[[int, Any], None]


class Generator:
    """Generates with the weights that a model has now.

    The whole loop is one program on JAX and TensorFlow. It is compiled for
    sizes that double, so that a prompt of another length, or another number
    of new tokens, seldom needs a new one. PyTorch runs it without the layers
    of Keras.

    Args:
        model: its weights are copied in the layout that generates fastest.
            Training it later does not change this generator.

    Example:
        >>> model = GPT2(50, num_layers=1, num_heads=2, hidden_dim=8)
        >>> text = Generator(model).generate([[3, 1, 4]], max_new_tokens=2)
        >>> len(text[0])
        5
    """

    def __init__(self, model: GPT2) -> None:
        self.tokenizer = model.tokenizer
        self.max_length = model.max_length
        self.vocabulary_size = model.vocabulary_size
        self._decoder = Decoder.of(model)
        self._weights = weights_of(model)

    def generate(
        self,
        prompts: Any,
        max_new_tokens: int = 64,
        sampler: str | Greedy | Random | Beam = "greedy",
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        stop_ids: Sequence[int] | None = None,
        callback: Callback | None = None,
        **rules: Any,
    ) -> Any:
        """Continues texts or token ids.

        A prompt is continued as if it were alone: neither the others nor
        padding change its result.

        Args:
            prompts: a text, a list of texts, a list of lists of token ids, or
                an integer array `(batch, tokens)`.
            max_new_tokens: largest number of tokens to append.
            sampler: `"greedy"`, `"random"`, `"top_k"` (50), `"top_p"` (0.9),
                `"min_p"` (0.05), `"typical"` (0.95) or `"beam"` (4 beams), or
                a `Greedy`, `Random` or `Beam` with other settings.
            seed: of the draws, in `[0, 2**32)`. The same seed gives the same
                result; without one it differs each time.
            stop: strings at which a text ends; they are left out.
            stop_ids: tokens that end a text; the end-of-text token of the
                tokenizer if `None`. It is part of the result if the prompts
                are ids.
            callback: called with the number of the row and what is new in
                it: characters of a text, or a token id.
            **rules: `min_new_tokens`, `repetition_penalty`,
                `presence_penalty`, `frequency_penalty` and
                `no_repeat_ngram`; see `Rules`.

        Returns:
            Prompts and continuations, of the type of the prompts. In an array
            a shorter row is filled with the first stop id, or 0.

        Raises:
            UsageError: if an argument is out of range or unknown, a prompt is
                empty or does not fit into the context with the new tokens, or
                texts are given and there is no tokenizer.
        """
        given = Prompts.of(prompts, self.tokenizer)
        self._check(given, max_new_tokens, seed)
        if isinstance(stop, str):
            stop = (stop,)
        if (stop and not given.are_texts) or "" in stop:
            raise UsageError(
                "stop strings must not be empty, and need prompts that are "
                f"texts; give stop_ids. Received: stop={tuple(stop)}"
            )
        if stop_ids is None:
            stop_ids = [] if self.tokenizer is None else [self.tokenizer.end_id]
        chosen = find(sampler)
        if isinstance(chosen, Beam) and callback is not None:
            raise UsageError(
                "beam search knows its text only in the end; leave the "
                "callback out or take another sampler"
            )
        loop = _loop(self._decoder, chosen, _rules(rules, stop_ids))
        rows = given.rows(stop, stop_ids)
        chunk = max_new_tokens
        if callback is not None:
            chunk = 1
        elif stop:
            chunk = TOKENS_BETWEEN_STOPS
        for new in self._run(loop, given.ids, max_new_tokens, seed, chunk):
            _take(rows, new, callback)
            if all(row.finished for row in rows):
                break
        _end(rows, callback)
        return given.result(rows, stop_ids[0] if stop_ids else 0)

    def score(self, texts: Any) -> list[Score]:
        """Tells how probable the model finds texts or token ids.

        The first token of a text is scored as one that follows on the end of
        another text. Of token ids, the first has nothing before it and is not
        scored.

        Args:
            texts: a text, a list of texts, a list of lists of token ids, or
                an integer array `(batch, tokens)`.

        Returns:
            The score of each.

        Raises:
            UsageError: if a text is empty or longer than the context, or
                there is one id only, or texts are given and there is no
                tokenizer.
        """
        given = Prompts.of(texts, self.tokenizer)
        rows = given.ids
        if given.are_texts and self.tokenizer is not None:
            rows = [[self.tokenizer.end_id, *ids] for ids in rows]
        lengths = sorted(map(len, rows))
        if lengths[0] < 2 or lengths[-1] - 1 > self.max_length:
            raise UsageError(
                "a text must have one token at least, token ids two, and "
                f"both at most {self.max_length + 1}. Received: {lengths}"
            )
        self._check_ids(rows)
        return [score(self._decoder, self._weights, ids) for ids in rows]

    def _check(self, given: Prompts, max_new_tokens: int, seed: Any) -> None:
        if max_new_tokens < 1:
            raise UsageError(
                f"max_new_tokens must be at least 1. Received: {max_new_tokens}"
            )
        if seed is not None and not 0 <= seed < 2**32:
            raise UsageError(f"seed must lie in [0, 2**32). Received: {seed}")
        longest = max(map(len, given.ids))
        if longest + max_new_tokens > self.max_length:
            raise UsageError(
                f"the context holds {self.max_length} tokens; the longest "
                f"prompt has {longest} and max_new_tokens is {max_new_tokens}"
            )
        self._check_ids(given.ids)

    def _check_ids(self, rows: Sequence[Sequence[int]]) -> None:
        for ids in rows:
            if not all(0 <= i < self.vocabulary_size for i in ids):
                raise UsageError(
                    f"token ids must lie in [0, {self.vocabulary_size}). "
                    f"Received: {ids}"
                )

    def _run(
        self,
        loop: TokenLoop | BeamLoop,
        ids: Sequence[Sequence[int]],
        max_new_tokens: int,
        seed: int | None,
        chunk: int,
    ) -> Iterator[np.ndarray]:
        """Yields new tokens `(B, n)`, as soon as `chunk` more are there."""
        longest = max(map(len, ids))
        width = bucket(longest)
        slots = bucket(width + max_new_tokens)
        prompts = np.zeros((len(ids), width), "int32")
        for row, prompt in zip(prompts, ids, strict=True):
            row[width - len(prompt) :] = prompt
        task = Task(
            ops.convert_to_tensor([width - len(p) for p in ids], "int32"),
            ops.convert_to_tensor(width, "int32"),
            ops.convert_to_tensor(_draws(seed, len(ids), slots)),
        )
        prefill, decode = _compiled(loop)
        state = prefill(self._weights, ops.convert_to_tensor(prompts), task)
        if isinstance(loop, BeamLoop):
            limit = ops.convert_to_tensor(max_new_tokens, "int32")
            state = decode(self._weights, state, task, limit)
            best = ops.convert_to_numpy(state.ended)[:, 0]
            yield best[:, width : width + max_new_tokens]
            return
        done = 0
        while done < max_new_tokens:
            limit = min(done + chunk, max_new_tokens)
            if limit > 1:  # The first token came with the prompts.
                tensor = ops.convert_to_tensor(limit, "int32")
                state = decode(self._weights, state, task, tensor)
            tokens = ops.convert_to_numpy(state.tokens)
            yield tokens[:, width + done : width + limit]
            done = limit


def _draws(seed: int | None, rows: int, count: int) -> np.ndarray:
    """Draws of each row, which do not depend on the number of rows."""
    entropy = np.random.SeedSequence().entropy if seed is None else seed
    return np.stack(
        [
            np.random.default_rng([entropy, row]).random(count, "float32")
            for row in range(rows)
        ]
    )


def _rules(rules: dict[str, Any], stop_ids: Sequence[int]) -> Rules:
    known = [name for name in inspect.signature(Rules).parameters][:-1]
    for name in rules:
        if name not in known:
            raise UsageError(
                f"generate has no argument {name!r}; there are also "
                f"{', '.join(known)}"
            )
    return Rules(stop_ids=tuple(int(i) for i in stop_ids), **rules)


def _loop(
    decoder: Decoder, sampler: Greedy | Random | Beam, rules: Rules
) -> TokenLoop | BeamLoop:
    if isinstance(sampler, Beam):
        return BeamLoop(decoder, sampler, rules)
    return TokenLoop(decoder, sampler, rules)


@functools.lru_cache(maxsize=64)
def _compiled(
    loop: TokenLoop | BeamLoop,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    compile_loop = backend.framework().loop
    return compile_loop(loop.prefill), compile_loop(loop.decode)


def _take(
    rows: Sequence[Row], new: np.ndarray, callback: Callback | None
) -> None:
    for number, (row, tokens) in enumerate(zip(rows, new, strict=True)):
        for token in tokens.tolist():
            if row.finished:
                break
            piece = row.push(token)
            if callback is not None and piece != "":
                callback(number, piece)


def _end(rows: Sequence[Row], callback: Callback | None) -> None:
    for number, row in enumerate(rows):
        piece = row.end()
        if callback is not None and piece:
            callback(number, piece)
