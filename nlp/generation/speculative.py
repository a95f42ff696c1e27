"""Speculative decoding: a small model proposes, the large one decides."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from keras import ops

from keras_multi.errors import UsageError
from nlp.generation.decoder import Caches, Decoder, Weights, kernels
from nlp.generation.loop import Task, next_logits, read_prompts
from nlp.generation.rules import Rules
from nlp.generation.samplers import Greedy, Random, pick

if TYPE_CHECKING:
    from nlp.generation.generator import Generator


@dataclass(frozen=True)
class Speculative:
    """Generates what its sampler would, with fewer calls of the model.

    The draft proposes some tokens one by one, and the model computes all of
    them at once. They are accepted up to the first that it rejects, and one
    token of its own follows. The result has exactly the distribution of the
    model, with the greedy sampler the same text (Leviathan et al. 2023, "Fast
    Inference from Transformers via Speculative Decoding", section 2.3).

    Args:
        draft: generator of a smaller model with the same vocabulary.
        num_tokens: number of tokens that it proposes at a time.
        sampler: how tokens are chosen, by both.

    Raises:
        UsageError: if `num_tokens` is less than 1.
    """

    draft: "Generator"
    num_tokens: int = 4
    sampler: Greedy | Random = field(default_factory=Greedy)

    def __post_init__(self) -> None:
        if self.num_tokens < 1:
            raise UsageError(
                f"num_tokens must be at least 1. Received: {self.num_tokens}"
            )


class SpeculativeState(NamedTuple):
    """Where the loop is, for one prompt."""

    step: Any  # int32 scalar, number of new tokens
    round: Any  # int32 scalar
    tokens: Any  # int32 (1, S); after the new ones stands what was rejected
    finished: Any  # bool (1,)
    caches: Caches
    draft_caches: Caches


@dataclass(frozen=True)
class SpeculativeLoop:
    """Generates for one prompt at a time.

    Attributes:
        decoder: of the model.
        draft: of the draft.
        vocabulary_size: number of tokens that both know, V.
        num_tokens: number of tokens proposed at a time, K.
        sampler: how tokens are chosen.
        rules: only their stop ids count.
    """

    decoder: Decoder
    draft: Decoder
    vocabulary_size: int
    num_tokens: int
    sampler: Greedy | Random
    rules: Rules

    streams: ClassVar = True  # whether tokens stay once they are there
    one_by_one: ClassVar = True  # whether each prompt runs alone

    @property
    def extra_slots(self) -> int:
        """Slots for tokens that are proposed beyond the last."""
        return self.num_tokens + 1

    @property
    def draws_per_token(self) -> int:
        """Draws of a round, which gives one token at least."""
        return 2 * self.num_tokens + 2

    def result(self, state: SpeculativeState) -> Any:
        """Gives the prompt and new tokens, int32 `(1, S)`."""
        return state.tokens

    def prefill(
        self, weights: tuple[Weights, Weights], prompts: Any, task: Task
    ) -> SpeculativeState:
        """Reads the prompt with both models; see `TokenLoop.prefill`.

        Args:
            weights: of the model and of the draft.
            prompts: int32 `(1, P)`.
            task: with `2 K + 2` draws for each slot.
        """
        slots = task.draws.shape[1] // self.draws_per_token
        caches = []
        for decoder, own in zip(
            (self.decoder, self.draft), weights, strict=True
        ):
            empty = decoder.empty(own, 1, slots)
            _, filled = read_prompts(decoder, own, prompts, task.start, empty)
            caches.append(filled)
        zero = ops.convert_to_tensor(0, "int32")
        padding = ((0, 0), (0, slots - prompts.shape[1]))
        tokens = ops.pad(prompts, padding)
        return SpeculativeState(
            zero, zero, tokens, ops.zeros((1,), "bool"), *caches
        )

    def step(
        self,
        weights: tuple[Weights, Weights],
        state: SpeculativeState,
        task: Task,
        limit: Any,
    ) -> SpeculativeState:
        """Appends one to K + 1 tokens; see `TokenLoop.step`."""
        k = self.num_tokens
        count = self.draws_per_token
        places = state.round * count + ops.arange(count, dtype="int32")
        draws = ops.take(task.draws[0], places, axis=0)  # (2K + 2,)
        slot = task.prompt + state.step - 1  # of the last token
        tokens, proposed, draft_caches = self._propose(
            weights[1], state, task, slot, draws
        )
        places = slot + ops.arange(k + 1, dtype="int32")  # (K + 1,)
        slots = ops.arange(tokens.shape[1], dtype="int32")  # (S,)
        seen = ops.logical_and(
            slots[None] <= places[:, None], slots[None] >= task.start
        )
        hidden, caches = self.decoder(
            weights[0],
            ops.take(tokens, places, axis=1),
            (places - task.start)[None],
            state.caches,
            slot,
            seen[None, None],
        )
        logits = self.decoder.logits(weights[0], hidden)[0]  # (K + 1, V)
        accepted, following = decide(
            self.sampler.probabilities(logits),
            proposed,
            ops.take(tokens[0], places[1:], axis=0),
            draws[k + 1 :],
        )
        write = kernels.write
        tokens = write(
            tokens, ops.reshape(following, (1, 1)), (0, slot + 1 + accepted)
        )
        new = ops.take(tokens[0], places + 1, axis=0)  # (K + 1,)
        counts = ops.arange(k + 1, dtype="int32") <= accepted
        ended = ops.any(ops.logical_and(counts, self.rules.stops(new)))
        return SpeculativeState(
            state.step + accepted + 1,
            state.round + 1,
            tokens,
            ended[None],
            caches,
            draft_caches,
        )

    def _propose(
        self,
        weights: Weights,
        state: SpeculativeState,
        task: Task,
        slot: Any,
        draws: Any,
    ) -> tuple[Any, Any, Caches]:
        """Lets the draft choose K tokens, and read the last of them.

        Returns:
            The tokens `(1, S)`, the probabilities that the draft gave
            `(K + 1, V)`, and its caches.
        """
        write = kernels.write
        k, size = self.num_tokens, self.vocabulary_size

        def body(i: Any, tokens: Any, proposed: Any, caches: Any) -> Any:
            logits, caches = next_logits(
                self.draft, weights, tokens, task.start, slot + i, caches
            )
            shares = self.sampler.probabilities(logits)  # (1, V)
            chosen = pick(shares, ops.take(draws, i, axis=0)[None])
            tokens = write(tokens, chosen[:, None], (0, slot + 1 + i))
            proposed = write(proposed, shares, (i, 0))
            return i + 1, tokens, proposed, caches

        _, tokens, proposed, caches = ops.while_loop(
            lambda i, *_: i <= k,
            body,
            (
                ops.convert_to_tensor(0, "int32"),
                state.tokens,
                ops.zeros((k + 1, size), "float32"),
                state.draft_caches,
            ),
        )
        return tokens, proposed, caches


def decide(
    shares: Any, proposed: Any, tokens: Any, draws: Any
) -> tuple[Any, Any]:
    """Accepts proposed tokens, so that the model's distribution results.

    A token that the draft draws with probability `q` and the model with `p`
    is accepted with probability `min(1, p / q)`. After the first that is not,
    a token is drawn by what is left, `max(0, p - q)`.

    Args:
        shares: float32 `(K + 1, V)`, probabilities of the model.
        proposed: float32 `(K + 1, V)`, those of the draft; the last row does
            not count.
        tokens: int32 `(K,)`, drawn by the draft.
        draws: float32 `(K + 1,)` in [0, 1).

    Returns:
        The number of accepted tokens and the token after them, int32 scalars.
    """
    k = tokens.shape[0]
    p = ops.take_along_axis(shares[:k], tokens[:, None], axis=1)[:, 0]
    q = ops.take_along_axis(proposed[:k], tokens[:, None], axis=1)[:, 0]
    good = ops.cast(draws[:k] * q < p, "int32")
    accepted = ops.sum(ops.cumprod(good))
    own = ops.take(shares, accepted, axis=0)
    rejected = ops.take(proposed, accepted, axis=0)
    rejected = ops.where(accepted < k, rejected, 0.0)
    left = ops.maximum(own - rejected, 0.0)
    left = ops.where(ops.sum(left) > 0, left, own)
    following = pick(left[None], draws[k:])[0]
    return ops.cast(accepted, "int32"), following
