"""Rules that change the logits by what is in the text already."""

from dataclasses import dataclass
from typing import Any

from keras import ops

from keras_multi.errors import UsageError

FORBIDDEN = -1e30


@dataclass(frozen=True)
class Rules:
    """Penalties for repetition, and when a text may end.

    Args:
        min_new_tokens: number of new tokens before a text may end.
        repetition_penalty: divides positive logits and multiplies negative
            ones of tokens in the prompt or the new text; above 1 against
            repetition (Keskar et al. 2019, "CTRL", section 4.1).
        presence_penalty: taken from the logits of tokens in the new text.
        frequency_penalty: the same, times the number of occurrences.
        no_repeat_ngram: length of sequences of tokens that may not occur
            twice in prompt and new text; 0 for no such rule (Paulus et al.
            2018, "A Deep Reinforced Model for Abstractive Summarization",
            section 2.5).
        stop_ids: tokens that end a text.

    Raises:
        UsageError: if an argument is out of range.
    """

    min_new_tokens: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram: int = 0
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("min_new_tokens", "no_repeat_ngram"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"{name} must not be negative. "
                    f"Received: {getattr(self, name)}"
                )
        if not self.repetition_penalty > 0:
            raise UsageError(
                "repetition_penalty must be more than 0. "
                f"Received: {self.repetition_penalty}"
            )

    def __call__(
        self, logits: Any, tokens: Any, start: Any, prompt: Any, now: Any
    ) -> Any:
        """Changes the logits of the token that goes to the slot `now`.

        Args:
            logits: float32 `(B, V)`.
            tokens: int32 `(B, S)`; those in slots from `start` to `now` are
                the text.
            start: int32 `(B,)`, first slot of each prompt.
            prompt: int32 scalar, first slot after the prompts.
            now: int32 scalar.

        Returns:
            float32 `(B, V)`.
        """
        if self == Rules(stop_ids=self.stop_ids):
            return logits
        slots = ops.arange(tokens.shape[1], dtype="int32")[None]  # (1, S)
        text = ops.logical_and(slots >= start[:, None], slots < now)
        new = ops.logical_and(text, slots >= prompt)
        size = logits.shape[-1]
        if self.repetition_penalty != 1:
            p = self.repetition_penalty
            penalised = ops.where(logits > 0, logits / p, logits * p)
            seen = _counts(tokens, text, size) > 0
            logits = ops.where(seen, penalised, logits)
        if self.presence_penalty or self.frequency_penalty:
            counts = _counts(tokens, new, size)
            logits = logits - self.frequency_penalty * counts
            logits = logits - self.presence_penalty * ops.cast(
                counts > 0, "float32"
            )
        if self.no_repeat_ngram:
            ends = self._ends_of_repeated(tokens, text, now)
            logits = ops.where(
                _counts(tokens, ends, size) > 0, FORBIDDEN, logits
            )
        if self.min_new_tokens and self.stop_ids:
            stops = self.stops(ops.arange(size, dtype="int32"))  # (V,)
            early = now < prompt + self.min_new_tokens
            logits = ops.where(
                ops.logical_and(early, stops)[None], FORBIDDEN, logits
            )
        return logits

    def stops(self, tokens: Any) -> Any:
        """Tells which tokens end a text; bool, of the shape of the tokens."""
        result = ops.zeros_like(tokens, dtype="bool")
        for stop in self.stop_ids:
            result = ops.logical_or(result, ops.equal(tokens, stop))
        return result

    def _ends_of_repeated(self, tokens: Any, text: Any, now: Any) -> Any:
        """Marks tokens that follow on what the last n - 1 tokens repeat.

        Args:
            tokens: int32 `(B, S)`.
            text: bool `(B, S)`, the slots in use.
            now: int32 scalar.

        Returns:
            bool `(B, S)`.
        """
        repeated = text
        for back in range(1, self.no_repeat_ngram):
            last = ops.take(tokens, ops.maximum(now - back, 0), axis=1)
            same = ops.logical_and(text, ops.equal(tokens, last[:, None]))
            # Slot i looks at slot i - back; the first ones have none.
            shifted = ops.pad(same, ((0, 0), (back, 0)))[:, : tokens.shape[1]]
            repeated = ops.logical_and(repeated, shifted)
        return repeated


def _counts(tokens: Any, where: Any, size: int) -> Any:
    """Counts each token in the slots that are marked; float32 `(B, V)`."""
    batch, slots = tokens.shape
    rows = ops.arange(batch, dtype="int32")[:, None]
    rows = ops.broadcast_to(rows, (batch, slots))
    indices = ops.reshape(ops.stack([rows, tokens], axis=-1), (-1, 2))
    values = ops.cast(ops.reshape(where, (-1,)), "float32")
    empty = ops.zeros((batch, size), "float32")
    return ops.scatter_update(empty, indices, values, reduction="add")
