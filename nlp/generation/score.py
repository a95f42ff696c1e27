"""How probable a model finds a text."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from nlp.generation.decoder import Decoder, Weights, kernels
from nlp.generation.loop import read_prompts
from nlp.generation.prompts import bucket


@dataclass(frozen=True)
class Score:
    """The log-probabilities of the tokens of a text.

    Attributes:
        token_ids: the tokens that are scored.
        log_probabilities: natural logarithm of the probability of each, given
            all before it.
    """

    token_ids: list[int]
    log_probabilities: list[float]

    @property
    def log_probability(self) -> float:
        """Of the whole text."""
        return math.fsum(self.log_probabilities)

    @property
    def perplexity(self) -> float:
        """Exponential of the mean negative log-probability of a token."""
        return math.exp(-self.log_probability / len(self.token_ids))


def score(
    decoder: Decoder, weights: Weights, ids: Sequence[int], max_length: int
) -> Score:
    """Scores all tokens but the first.

    Args:
        decoder: of the model.
        weights: of the model.
        ids: at least two, and at most one more than `max_length`.
        max_length: number of tokens that the model can look at.
    """
    # Padding on the right is seen by no token before it.
    width = min(bucket(len(ids)), max_length + 1)
    padded = np.zeros((1, width), "int32")
    padded[0, : len(ids)] = ids
    values = _compiled(decoder)(weights, ops.convert_to_tensor(padded))
    values = ops.convert_to_numpy(values)[: len(ids) - 1]
    return Score(list(ids[1:]), values.tolist())


@functools.lru_cache(maxsize=8)
def _compiled(decoder: Decoder) -> Callable[..., Any]:
    def log_probabilities(weights: Weights, token_ids: Any) -> Any:
        caches = decoder.empty(weights, 1, token_ids.shape[1] - 1)
        start = ops.zeros((1,), "int32")
        hidden, _ = read_prompts(
            decoder, weights, token_ids[:, :-1], start, caches
        )
        logits = decoder.logits(weights, hidden)[0]  # (T, V)
        following = ops.take_along_axis(logits, token_ids[0, 1:, None], axis=1)
        return following[:, 0] - ops.logsumexp(logits, axis=-1)

    compiled: Callable[..., Any] = kernels.loop(log_probabilities)
    return compiled
