"""Beam search."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from keras import ops

from keras_multi.errors import UsageError
from nlp.generation.decoder import Caches, Decoder, Weights, kernels
from nlp.generation.loop import Task, next_logits, read_prompts, repeat_rows
from nlp.generation.rules import Rules

LOW = -1e30  # the score of what is not there


@dataclass(frozen=True)
class Beam:
    """Keeps the most probable texts, and gives the best in the end.

    In each step every beam is continued with every token, and the best of
    all continuations become the beams. Texts that end are compared by the sum
    of the log-probabilities of their new tokens, divided by the number of
    these to the power of `length_penalty` (Wu et al. 2016, "Google's Neural
    Machine Translation System", section 7, with the penalty in its simplest
    form). A search ends when no beam can become better than all kept ends.

    Args:
        num_beams: number of beams, at least 1.
        length_penalty: above 0 for longer texts, below for shorter ones.

    Raises:
        UsageError: if `num_beams` is less than 1.
    """

    num_beams: int = 4
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.num_beams < 1:
            raise UsageError(
                f"num_beams must be at least 1. Received: {self.num_beams}"
            )


class BeamState(NamedTuple):
    """Where the search is; K beams of each of B prompts."""

    step: Any  # int32 scalar, number of new tokens
    tokens: Any  # int32 (B * K, S)
    scores: Any  # float32 (B, K), sums of log-probabilities
    ended: Any  # int32 (B, K, S), the best texts that have ended
    ended_scores: Any  # float32 (B, K), with the length penalty
    finished: Any  # bool (B,)
    caches: Caches  # of B * K rows


@dataclass(frozen=True)
class BeamLoop:
    """Searches.

    Attributes:
        decoder: of the model.
        beam: number of beams and length penalty.
        rules: change the logits before.
    """

    decoder: Decoder
    beam: Beam
    rules: Rules

    streams: ClassVar = False  # whether tokens stay once they are there
    one_by_one: ClassVar = False  # whether each prompt runs alone
    extra_slots: ClassVar = 0
    draws_per_token: ClassVar = 1

    def result(self, state: BeamState) -> Any:
        """Gives prompts and new tokens of the best texts, int32 `(B, S)`."""
        return state.ended[:, 0]

    def prefill(self, weights: Weights, prompts: Any, task: Task) -> BeamState:
        """Reads the prompts; see `TokenLoop.prefill`."""
        batch, length = prompts.shape
        k, slots = self.beam.num_beams, task.draws.shape[1]
        caches = self.decoder.empty(weights, batch, slots)
        # The last token is read once more by the first step.
        _, caches = read_prompts(
            self.decoder, weights, prompts, task.start, caches
        )
        tokens = ops.pad(prompts, ((0, 0), (0, slots - length)))
        tokens = repeat_rows(tokens, k)
        # All beams start equal, so that one of them must count.
        others = ops.full((batch, k - 1), LOW, "float32")
        scores = ops.concatenate(
            [ops.zeros((batch, 1), "float32"), others], axis=1
        )
        return BeamState(
            ops.convert_to_tensor(0, "int32"),
            tokens,
            scores,
            ops.reshape(tokens, (batch, k, slots)),
            ops.full((batch, k), LOW, "float32"),
            ops.zeros((batch,), "bool"),
            tuple(
                (repeat_rows(keys, k), repeat_rows(values, k))
                for keys, values in caches
            ),
        )

    def step(
        self, weights: Weights, state: BeamState, task: Task, limit: Any
    ) -> BeamState:
        """Goes on with the best of all continuations.

        Args:
            weights: of the model.
            state: where the search is.
            task: of the prompts.
            limit: int32 scalar, number of new tokens at which texts end.
        """
        batch, k, slots = state.ended.shape
        slot = task.prompt + state.step
        start = repeat_rows(task.start, k)  # (B * K,)
        logits, caches = next_logits(
            self.decoder, weights, state.tokens, start, slot - 1, state.caches
        )
        logits = self.rules(logits, state.tokens, start, task.prompt, slot)
        size = logits.shape[-1]
        new = ops.log_softmax(logits, axis=-1)  # (B * K, V)
        sums = state.scores[:, :, None] + ops.reshape(new, (batch, k, size))
        # Of 2 K continuations at most K end, so that K can go on.
        width = min(2 * k, k * size)
        scores, best = ops.top_k(ops.reshape(sums, (batch, k * size)), width)
        beams = ops.cast(best // size, "int32")  # (B, 2K)
        chosen = ops.cast(best % size, "int32")
        rows = ops.arange(batch, dtype="int32")[:, None] * k
        tokens = ops.take(state.tokens, rows + beams, axis=0)  # (B, 2K, S)
        tokens = kernels.write(tokens, chosen[:, :, None], (0, 0, slot))

        last = state.step + 1 >= limit
        ends = ops.logical_or(self.rules.stops(chosen), last)
        among_best = ops.arange(width, dtype="int32") < k
        counts = ops.logical_and(ends, among_best[None])
        length = ops.cast(state.step + 1, "float32")
        penalty = length**self.beam.length_penalty
        pool = ops.concatenate(
            [state.ended_scores, ops.where(counts, scores / penalty, LOW)],
            axis=1,
        )
        ended_scores, kept = ops.top_k(pool, k)
        ended = _pick(ops.concatenate([state.ended, tokens], axis=1), kept)
        done = state.finished[:, None]
        ended_scores = ops.where(done, state.ended_scores, ended_scores)
        ended = ops.where(done[:, :, None], state.ended, ended)

        scores, kept = ops.top_k(ops.where(ends, LOW, scores), k)
        kept = ops.cast(kept, "int32")
        rows = ops.reshape(rows + ops.take_along_axis(beams, kept, 1), (-1,))
        hopeless = ended_scores[:, -1] >= scores[:, 0] / penalty
        return BeamState(
            state.step + 1,
            ops.reshape(_pick(tokens, kept), (batch * k, slots)),
            scores,
            ended,
            ended_scores,
            ops.logical_or(state.finished, hopeless),
            tuple(
                (ops.take(keys, rows, axis=0), ops.take(values, rows, axis=0))
                for keys, values in caches
            ),
        )


def _pick(texts: Any, indices: Any) -> Any:
    """Picks texts of each prompt: `(B, N, S)`, `(B, K)` to `(B, K, S)`."""
    return ops.take_along_axis(
        texts, ops.cast(indices, "int32")[:, :, None], axis=1
    )
