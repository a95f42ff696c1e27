"""The loop that appends one token after the other."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from keras import ops

from nlp.generation.decoder import Caches, Decoder, Weights, kernels
from nlp.generation.rules import Rules
from nlp.generation.samplers import Greedy, Random


class State(NamedTuple):
    """Where the loop is.

    The last prompt token of every row is in the same slot: shorter prompts
    have padding on the left.
    """

    step: Any  # int32 scalar, number of new tokens
    tokens: Any  # int32 (B, S), prompts and new tokens
    finished: Any  # bool (B,)
    caches: Caches


class Task(NamedTuple):
    """What stays while the loop runs."""

    start: Any  # int32 (B,), first slot of each prompt
    prompt: Any  # int32 scalar, first slot after the prompts
    draws: Any  # float32 (B, S), one draw for each new token


@dataclass(frozen=True)
class TokenLoop:
    """Generates with a sampler that takes one token after the other.

    Attributes:
        decoder: of the model.
        sampler: chooses the tokens.
        rules: change the logits before.
    """

    decoder: Decoder
    sampler: Greedy | Random
    rules: Rules

    streams: ClassVar = True  # whether tokens stay once they are there
    one_by_one: ClassVar = False  # whether each prompt runs alone
    extra_slots: ClassVar = 0
    draws_per_token: ClassVar = 1

    def result(self, state: State) -> Any:
        """Gives prompts and new tokens, int32 `(B, S)`."""
        return state.tokens

    def prefill(self, weights: Weights, prompts: Any, task: Task) -> State:
        """Reads the prompts and chooses the first new tokens.

        Args:
            weights: of the model.
            prompts: int32 `(B, P)`, padded on the left.
            task: of the prompts.
        """
        batch, length = prompts.shape
        slots = task.draws.shape[1]
        caches = self.decoder.empty(weights, batch, slots)
        hidden, caches = read_prompts(
            self.decoder, weights, prompts, task.start, caches
        )
        state = State(
            ops.convert_to_tensor(0, "int32"),
            ops.pad(prompts, ((0, 0), (0, slots - length))),
            ops.zeros((batch,), "bool"),
            caches,
        )
        logits = self.decoder.logits(weights, hidden[:, -1:])[:, 0]
        return self._append(state, logits, task)

    def step(
        self, weights: Weights, state: State, task: Task, limit: Any
    ) -> State:
        """Appends a token to each text; `limit` does not count here."""
        logits, caches = next_logits(
            self.decoder,
            weights,
            state.tokens,
            task.start,
            task.prompt + state.step - 1,
            state.caches,
        )
        return self._append(state._replace(caches=caches), logits, task)

    def _append(self, state: State, logits: Any, task: Task) -> State:
        slot = task.prompt + state.step
        logits = self.rules(logits, state.tokens, task.start, task.prompt, slot)
        draws = ops.take(task.draws, state.step, axis=1)  # (B,)
        chosen = self.sampler(logits, draws)
        chosen = ops.where(state.finished, 0, chosen)
        write = kernels.write
        return State(
            state.step + 1,
            write(state.tokens, chosen[:, None], (0, slot)),
            ops.logical_or(state.finished, self.rules.stops(chosen)),
            state.caches,
        )


def read_prompts(
    decoder: Decoder, weights: Weights, prompts: Any, start: Any, caches: Caches
) -> tuple[Any, Caches]:
    """Computes all tokens of the prompts.

    Args:
        decoder: of the model.
        weights: of the model.
        prompts: int32 `(B, P)`, padded on the left.
        start: int32 `(B,)`, first slot of each prompt.
        caches: of at least P slots, empty.

    Returns:
        The stream `(B, P, D)` and the caches.
    """
    slots = ops.arange(caches[0][0].shape[2], dtype="int32")  # (S,)
    places = ops.arange(prompts.shape[1], dtype="int32")  # (P,)
    earlier = slots[None, :] <= places[:, None]  # (P, S)
    within = slots[None, :] >= start[:, None]  # (B, S)
    # Padding sees itself: some kernels divide zero by zero if it sees none.
    own = slots[None, :] == places[:, None]  # (P, S)
    mask = ops.logical_or(
        ops.logical_and(earlier[None, None], within[:, None, None]),
        own[None, None],
    )
    positions = ops.maximum(places[None] - start[:, None], 0)  # (B, P)
    return decoder(weights, prompts, positions, caches, 0, mask)


def next_logits(
    decoder: Decoder,
    weights: Weights,
    tokens: Any,
    start: Any,
    slot: Any,
    caches: Caches,
) -> tuple[Any, Caches]:
    """Computes the tokens in one slot.

    Args:
        decoder: of the model.
        weights: of the model.
        tokens: int32 `(B, S)`.
        start: int32 `(B,)`, first slot of each text.
        slot: int32 scalar, the one to compute; those before are in the
            caches.
        caches: of S slots.

    Returns:
        Float32 logits `(B, V)` of the token after it, and the caches.
    """
    token = ops.take(tokens, slot, axis=1)[:, None]  # (B, 1)
    hidden, caches = read_token(decoder, weights, token, start, slot, caches)
    return decoder.logits(weights, hidden)[:, 0], caches


def read_token(
    decoder: Decoder,
    weights: Weights,
    token: Any,
    start: Any,
    slot: Any,
    caches: Caches,
) -> tuple[Any, Caches]:
    """Computes one token of each text.

    Args:
        decoder: of the model.
        weights: of the model.
        token: int32 `(B, 1)`.
        start: int32 `(B,)`, first slot of each text.
        slot: int32 scalar, the slot of the token; those before are in the
            caches.
        caches: of S slots.

    Returns:
        The stream `(B, 1, D)` and the caches.
    """
    slots = ops.arange(caches[0][0].shape[2], dtype="int32")[None]  # (1, S)
    seen = ops.logical_and(slots >= start[:, None], slots <= slot)  # (B, S)
    positions = (slot - start)[:, None]  # (B, 1)
    mask = seen[:, None, None]  # (B, 1, 1, S)
    return decoder(weights, token, positions, caches, slot, mask)


def repeat_rows(x: Any, times: int) -> Any:
    """Repeats each row: `(B, ...)` to `(B * times, ...)`."""
    # `ops.repeat` forgets the shape on TensorFlow; broadcasting on PyTorch
    # gives rows that share their memory.
    batch, *rest = x.shape
    x = ops.concatenate([x[:, None]] * times, axis=1)
    return ops.reshape(x, (batch * times, *rest))
