"""How the next token is chosen from its logits.

Draws come in from outside, one number in [0, 1) a token, so that the same
draws give the same tokens on every backend.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_multi.errors import UsageError


@dataclass(frozen=True)
class Greedy:
    """Takes the most probable token, the first of equals."""

    def __call__(self, logits: Any, draws: Any) -> Any:
        """Chooses tokens.

        Args:
            logits: float32 `(B, V)`.
            draws: float32 `(B,)`, not used.

        Returns:
            int32 `(B,)`.
        """
        return ops.cast(ops.argmax(logits, axis=-1), "int32")

    def probabilities(self, logits: Any) -> Any:
        """Gives 1 for the best token and 0 for the others, `(B, V)`."""
        best = ops.argmax(logits, axis=-1)
        return ops.one_hot(best, logits.shape[-1], dtype="float32")


@dataclass(frozen=True)
class Random:
    """Draws a token by its probability, perhaps from the better ones only.

    What is given applies in the order of the arguments. Tokens that are
    equally good as the last one that stays, stay too.

    Args:
        temperature: divides the logits; more than 0. Below 1 probable tokens
            become more probable.
        top_k: number of the most probable tokens that stay (Fan et al. 2018,
            "Hierarchical Neural Story Generation", section 5.4).
        top_p: the most probable tokens stay until their probabilities sum to
            this, in (0, 1] (Holtzman et al. 2020, "The Curious Case of Neural
            Text Degeneration", section 3.1).
        min_p: tokens stay that have this share of the probability of the
            best, in (0, 1] (Nguyen et al. 2024, "Turning Up the Heat: Min-p
            Sampling", section 4).
        typical_p: the tokens whose information is nearest to the entropy
            stay until their probabilities sum to this, in (0, 1] (Meister et
            al. 2023, "Locally Typical Sampling", section 5).

    Raises:
        UsageError: if an argument is out of range.

    Example:
        >>> logits = ops.convert_to_tensor([[0.0, 1.0, 5.0]])
        >>> int(Random(top_k=1)(logits, ops.convert_to_tensor([0.5]))[0])
        2
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise UsageError(
                "temperature must be more than 0 (for none of chance take "
                f"the greedy sampler). Received: {self.temperature}"
            )
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(
                f"top_k must be at least 1. Received: {self.top_k}"
            )
        for name in ("top_p", "min_p", "typical_p"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise UsageError(
                    f"{name} must lie in (0, 1]. Received: {share}"
                )

    def probabilities(self, logits: Any) -> Any:
        """Gives the probability with which each token is drawn.

        Args:
            logits: float32 `(B, V)`.

        Returns:
            float32 `(B, V)`; zero at tokens that are left out.
        """
        logits = logits / self.temperature
        if self.top_k is not None:
            best, _ = ops.top_k(logits, min(self.top_k, logits.shape[-1]))
            logits = _only(logits >= best[:, -1:], logits)
        if self.top_p is not None:
            shares = ops.softmax(logits, axis=-1)
            logits = _only(_smallest_set(-shares, shares, self.top_p), logits)
        if self.min_p is not None:
            floor = ops.max(logits, axis=-1, keepdims=True) + np.log(self.min_p)
            logits = _only(logits >= floor, logits)
        if self.typical_p is not None:
            shares = ops.softmax(logits, axis=-1)
            information = -ops.log(ops.maximum(shares, 1e-30))
            entropy = ops.sum(shares * information, axis=-1, keepdims=True)
            distance = ops.abs(information - entropy)
            logits = _only(
                _smallest_set(distance, shares, self.typical_p), logits
            )
        return ops.softmax(logits, axis=-1)

    def __call__(self, logits: Any, draws: Any) -> Any:
        """Chooses tokens; see `pick`.

        Args:
            logits: float32 `(B, V)`.
            draws: float32 `(B,)` in [0, 1).

        Returns:
            int32 `(B,)`.
        """
        return pick(self.probabilities(logits), draws)


def pick(shares: Any, draws: Any) -> Any:
    """Takes the entry at which the summed shares pass the draw.

    Args:
        shares: float32 `(B, V)`, not negative, one of each row positive.
        draws: float32 `(B,)` in [0, 1), as parts of the sum of a row.

    Returns:
        int32 `(B,)`.
    """
    sums = ops.cumsum(shares, axis=-1)
    total = sums[:, -1:]
    chosen = _count(sums <= draws[:, None] * total)
    # Rounding may bring a draw up to the total.
    return ops.minimum(chosen, _count(sums < total))


def _only(kept: Any, logits: Any) -> Any:
    return ops.where(kept, logits, -float("inf"))


def _smallest_set(rank: Any, shares: Any, mass: float) -> Any:
    """Marks the entries of lowest rank whose shares sum to the mass."""
    order = ops.argsort(rank, axis=-1)
    sorted_shares = ops.take_along_axis(shares, order, axis=-1)
    before = ops.cumsum(sorted_shares, axis=-1) - sorted_shares
    last = ops.maximum(_count(before < mass) - 1, 0)[:, None]
    worst = ops.take_along_axis(
        ops.take_along_axis(rank, order, axis=-1), last, axis=-1
    )
    return rank <= worst


def _count(condition: Any) -> Any:
    return ops.sum(ops.cast(condition, "int32"), axis=-1)
