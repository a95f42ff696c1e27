"""Continues texts: from prompts to compiled loops and back to texts."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_multi.errors import UsageError
from nlp.causal_lm import CausalLM
from nlp.generation.beam import Beam, BeamLoop
from nlp.generation.contrastive import Contrastive, ContrastiveLoop
from nlp.generation.decoder import Layouts, Weights
from nlp.generation.loop import TokenLoop
from nlp.generation.named import Sampler, find
from nlp.generation.prompts import Prompts, Row
from nlp.generation.rules import Rules
from nlp.generation.run import Loop, run
from nlp.generation.score import Score, score
from nlp.generation.speculative import Speculative, SpeculativeLoop

TOKENS_BETWEEN_STOPS = 8  # how often texts are searched for stop strings

Callback = Callable[[int, Any], None]


class Generator:
    """Generates with the weights that a model has now.

    The whole loop is one program on JAX and TensorFlow. It is compiled for
    sizes that double, so that a prompt of another length, or another number
    of new tokens, seldom needs a new one. PyTorch runs it without the layers
    of Keras.

    Args:
        model: its weights are copied in the layout for generation.
            Training it later does not change this generator.
        compiled: whether PyTorch compiles what it does for each token that a
            sampler draws, with `torch.compile`: half a minute for the first
            text of a size, and as fast after it. The other backends compile in
            any case.

    Example:
        >>> from nlp import GPT2
        >>> model = GPT2(50, num_layers=1, num_heads=2, hidden_dim=8)
        >>> text = Generator(model).generate([[3, 1, 4]], max_new_tokens=2)
        >>> len(text[0])
        5
    """

    def __init__(self, model: CausalLM, compiled: bool = False) -> None:
        self.compiled = compiled
        self.tokenizer = model.tokenizer
        self.max_length = model.max_length
        self.vocabulary_size = model.vocabulary_size
        self.decoder, weights = model.decoder()
        self.weights = Layouts(weights, compiled)

    def generate(
        self,
        prompts: Any,
        max_new_tokens: int = 64,
        sampler: str | Sampler = "greedy",
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
                `"min_p"` (0.05), `"typical"` (0.95), `"beam"` (4 beams) or
                `"contrastive"`, or one of the classes in `nlp.generation`.
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
        if isinstance(stop, str):
            stop = (stop,)
        if (stop and not given.are_texts) or "" in stop:
            raise UsageError(
                "stop strings must not be empty, and need prompts that are "
                f"texts; give stop_ids. Received: stop={tuple(stop)}"
            )
        if stop_ids is None:
            stop_ids = [] if self.tokenizer is None else [self.tokenizer.end_id]
        loop, weights = self._loop(
            find(sampler), _rules(rules, stop_ids), len(given.ids) == 1
        )
        self._check(given, max_new_tokens, seed, loop.extra_slots)
        chunk = max_new_tokens
        if callback is not None:
            if not loop.streams:
                raise UsageError(
                    "beam search knows its text only in the end; leave the "
                    "callback out or take another sampler"
                )
            chunk = 1
        elif stop and loop.streams:
            chunk = TOKENS_BETWEEN_STOPS
        rows = given.rows(stop, stop_ids)
        alone = loop.one_by_one or self.decoder.one_by_one
        together = 1 if alone else len(rows)
        entropy = seed
        if entropy is None:
            entropy = int(np.random.SeedSequence().generate_state(1)[0])
        for first in range(0, len(rows), together):
            some = range(first, first + together)
            prompts = [(given.ids[i], (entropy, i)) for i in some]
            for new in run(
                loop,
                weights,
                prompts,
                max_new_tokens,
                chunk,
                self.max_length,
                self.compiled and isinstance(loop, TokenLoop),
            ):
                _take(rows, some, new, callback)
                if all(rows[i].finished for i in some):
                    break
            _end(rows, some, callback)
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
        if (
            given.are_texts
            and self.tokenizer is not None
            and not self.tokenizer.start_ids
        ):
            rows = [[self.tokenizer.end_id, *ids] for ids in rows]
        lengths = sorted(map(len, rows))
        if lengths[0] < 2 or lengths[-1] - 1 > self.max_length:
            raise UsageError(
                "a text must have one token at least, token ids two, and "
                f"both at most {self.max_length + 1}. Received: {lengths}"
            )
        self._check_ids(rows)
        return [
            score(self.decoder, self.weights(True), ids, self.max_length)
            for ids in rows
        ]

    def _loop(
        self, sampler: Sampler, rules: Rules, alone: bool
    ) -> tuple[Loop, Weights | tuple[Weights, Weights]]:
        """Makes the loop of a sampler, and the weights that it takes.

        Args:
            sampler: of the loop.
            rules: of the loop.
            alone: whether there is one text only.
        """
        if isinstance(sampler, Beam):
            return BeamLoop(self.decoder, sampler, rules), self.weights(False)
        if isinstance(sampler, Contrastive):
            if self.decoder.gives_logits:
                raise UsageError(
                    "contrastive search does not know the vectors inside a "
                    "model of keras-nlp; take another sampler"
                )
            loop = ContrastiveLoop(self.decoder, sampler, rules)
            return loop, self.weights(False)
        if not isinstance(sampler, Speculative):
            token_loop = TokenLoop(self.decoder, sampler, rules)
            return token_loop, self.weights(alone)
        if rules != Rules(stop_ids=rules.stop_ids):
            raise UsageError(
                "speculative decoding knows no rules but stop ids. "
                f"Received: {rules}"
            )
        draft = sampler.draft
        if (draft.vocabulary_size, draft.max_length) != (
            self.vocabulary_size,
            self.max_length,
        ):
            raise UsageError(
                "the draft must have the vocabulary and the context of the "
                f"model. Received: {draft.vocabulary_size} tokens and "
                f"{draft.max_length} positions, not {self.vocabulary_size} "
                f"and {self.max_length}"
            )
        speculative = SpeculativeLoop(
            self.decoder,
            draft.decoder,
            self.vocabulary_size,
            sampler.num_tokens,
            sampler.sampler,
            rules,
        )
        return speculative, (self.weights(False), draft.weights(True))

    def _check(
        self, given: Prompts, max_new_tokens: int, seed: Any, extra: int
    ) -> None:
        if max_new_tokens < 1:
            raise UsageError(
                f"max_new_tokens must be at least 1. Received: {max_new_tokens}"
            )
        if seed is not None and not 0 <= seed < 2**32:
            raise UsageError(f"seed must lie in [0, 2**32). Received: {seed}")
        longest = max(map(len, given.ids))
        if longest + max_new_tokens + extra > self.max_length:
            room = f" of which {extra} must stay free" if extra else ""
            raise UsageError(
                f"the context holds {self.max_length} tokens{room}; the "
                f"longest prompt has {longest} and max_new_tokens is "
                f"{max_new_tokens}"
            )
        self._check_ids(given.ids)

    def _check_ids(self, rows: Sequence[Sequence[int]]) -> None:
        for ids in rows:
            if not all(0 <= i < self.vocabulary_size for i in ids):
                raise UsageError(
                    f"token ids must lie in [0, {self.vocabulary_size}). "
                    f"Received: {ids}"
                )


def _rules(rules: dict[str, Any], stop_ids: Sequence[int]) -> Rules:
    known = list(inspect.signature(Rules).parameters)[:-1]
    for name in rules:
        if name not in known:
            raise UsageError(
                f"generate has no argument {name!r}; there are also "
                f"{', '.join(known)}"
            )
    return Rules(stop_ids=tuple(int(i) for i in stop_ids), **rules)


def _take(
    rows: Sequence[Row],
    some: Iterable[int],
    new: np.ndarray,
    callback: Callback | None,
) -> None:
    """Gives new tokens to some of the rows."""
    for i, tokens in zip(some, new, strict=True):
        for token in tokens.tolist():
            if rows[i].finished:
                break
            piece = rows[i].push(token)
            if callback is not None and piece != "":
                callback(i, piece)


def _end(
    rows: Sequence[Row], some: Iterable[int], callback: Callback | None
) -> None:
    """Ends some of the rows."""
    for i in some:
        piece = rows[i].end()
        if callback is not None and piece:
            callback(i, piece)
