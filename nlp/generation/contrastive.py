"""Contrastive search."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from keras import ops

from keras_multi.errors import UsageError
from nlp.generation.decoder import Caches, Decoder, Weights, kernels
from nlp.generation.loop import Task, read_prompts, read_token, repeat_rows
from nlp.generation.rules import Rules

LOW = -1e30  # the similarity to what is not there


@dataclass(frozen=True)
class Contrastive:
    """Takes a probable token that is unlike the text before it.

    Of the most probable tokens, the one with the largest `(1 - alpha) p -
    alpha s` follows, where `s` is the largest cosine between the model's
    representation of the token and that of a token before it (Su et al. 2022,
    "A Contrastive Framework for Neural Text Generation", Eq. 5).

    Args:
        top_k: number of the most probable tokens, at least 1.
        alpha: weight of the similarity, in [0, 1]; 0 for greedy search.

    Raises:
        UsageError: if an argument is out of range.
    """

    top_k: int = 4
    alpha: float = 0.6

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise UsageError(
                f"top_k must be at least 1. Received: {self.top_k}"
            )
        if not 0 <= self.alpha <= 1:
            raise UsageError(
                f"alpha must lie in [0, 1]. Received: {self.alpha}"
            )


class ContrastiveState(NamedTuple):
    """Where the search is."""

    step: Any  # int32 scalar, number of new tokens
    tokens: Any  # int32 (B, S)
    finished: Any  # bool (B,)
    stream: Any  # (B, 1, D), of the last token
    units: Any  # float32 (B, S, D), of length 1, those of all tokens
    caches: Caches


@dataclass(frozen=True)
class ContrastiveLoop:
    """Searches.

    Attributes:
        decoder: of the model.
        search: number of candidates and weight of their similarity.
        rules: change the logits before.
    """

    decoder: Decoder
    search: Contrastive
    rules: Rules

    streams: ClassVar = True  # whether tokens stay once they are there
    one_by_one: ClassVar = False  # whether each prompt runs alone
    extra_slots: ClassVar = 0
    draws_per_token: ClassVar = 1

    def result(self, state: ContrastiveState) -> Any:
        """Gives prompts and new tokens, int32 `(B, S)`."""
        return state.tokens

    def prefill(
        self, weights: Weights, prompts: Any, task: Task
    ) -> ContrastiveState:
        """Reads the prompts; see `TokenLoop.prefill`."""
        batch, length = prompts.shape
        slots = task.draws.shape[1]
        caches = self.decoder.empty(weights, batch, slots)
        stream, caches = read_prompts(
            self.decoder, weights, prompts, task.start, caches
        )
        free = slots - length
        return ContrastiveState(
            ops.convert_to_tensor(0, "int32"),
            ops.pad(prompts, ((0, 0), (0, free))),
            ops.zeros((batch,), "bool"),
            stream[:, -1:],
            ops.pad(_unit(stream), ((0, 0), (0, free), (0, 0))),
            caches,
        )

    def step(
        self, weights: Weights, state: ContrastiveState, task: Task, limit: Any
    ) -> ContrastiveState:
        """Appends a token to each text; see `TokenLoop.step`."""
        write = kernels.write
        batch, slots = state.tokens.shape
        slot = task.prompt + state.step
        logits = self.decoder.logits(weights, state.stream)[:, 0]  # (B, V)
        logits = self.rules(logits, state.tokens, task.start, task.prompt, slot)
        k = min(self.search.top_k, logits.shape[-1])
        shares, candidates = ops.top_k(ops.softmax(logits, axis=-1), k)
        candidates = ops.cast(candidates, "int32")  # (B, K)

        # The candidates are computed together, each with the cache of its row.
        stream, caches = read_token(
            self.decoder,
            weights,
            ops.reshape(candidates, (batch * k, 1)),
            repeat_rows(task.start, k),
            slot,
            _map(state.caches, lambda x: repeat_rows(x, k)),
        )
        units = ops.reshape(_unit(stream), (batch, k, -1))  # (B, K, D)
        cosines = ops.matmul(units, ops.transpose(state.units, (0, 2, 1)))
        places = ops.arange(slots, dtype="int32")[None]  # (1, S)
        text = ops.logical_and(places >= task.start[:, None], places < slot)
        cosines = ops.where(text[:, None], cosines, LOW)  # (B, K, S)
        alpha = self.search.alpha
        scores = (1 - alpha) * shares - alpha * ops.max(cosines, axis=-1)
        best = ops.cast(ops.argmax(scores, axis=-1), "int32")  # (B,)

        chosen = ops.take_along_axis(candidates, best[:, None], axis=1)[:, 0]
        chosen = ops.where(state.finished, 0, chosen)
        rows = ops.arange(batch, dtype="int32") * k + best
        unit = ops.take_along_axis(units, best[:, None, None], axis=1)
        return ContrastiveState(
            state.step + 1,
            write(state.tokens, chosen[:, None], (0, slot)),
            ops.logical_or(state.finished, self.rules.stops(chosen)),
            ops.take(stream, rows, axis=0),
            write(state.units, unit, (0, slot, 0)),
            _map(caches, lambda x: ops.take(x, rows, axis=0)),
        )


def _unit(stream: Any) -> Any:
    """Brings the last axis to length 1, as float32."""
    stream = ops.cast(stream, "float32")
    squares = ops.sum(ops.square(stream), axis=-1, keepdims=True)
    return stream * ops.rsqrt(ops.maximum(squares, 1e-12))


def _map(caches: Caches, change: Any) -> Caches:
    return tuple((change(keys), change(values)) for keys, values in caches)
