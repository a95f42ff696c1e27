"""How probable a model finds a text."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.errors import UsageError
from nlp.generation.generator import bucket
from nlp.generation.prompts import Prompts
from nlp.gpt2 import GPT2


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


def score(model: GPT2, texts: Any) -> list[Score]:
    """Scores texts or token ids.

    The first token of a text is scored as one that follows on the end of
    another text. Of token ids, the first has nothing before it and is not
    scored.

    Args:
        model: the model.
        texts: a text, a list of texts, a list of lists of token ids, or an
            integer array `(batch, tokens)`.

    Returns:
        The score of each.

    Raises:
        UsageError: if a text is empty or longer than the context, or there is
            only one id, or texts are given and there is no tokenizer.

    Example:
        >>> model = GPT2(50, num_layers=1, num_heads=2, hidden_dim=8)
        >>> score(model, [[3, 1, 4]])[0].token_ids
        [1, 4]
    """
    given = Prompts.of(texts, model.tokenizer)
    rows = given.ids
    if given.are_texts and model.tokenizer is not None:
        rows = [[model.tokenizer.end_id, *ids] for ids in rows]
    longest = max(map(len, rows))
    if min(map(len, rows)) < 2 or longest - 1 > model.max_length:
        raise UsageError(
            "texts must have one token at least, token ids two, and at most "
            f"{model.max_length + 1}. Received: {sorted(map(len, rows))}"
        )

    def log_probabilities(token_ids: Any) -> Any:
        logits = model(token_ids[:, :-1])  # (1, T, V)
        targets = ops.take_along_axis(logits, token_ids[:, 1:, None], axis=2)
        return targets[0, :, 0] - ops.logsumexp(logits[0], axis=-1)

    compiled = backend.inference(log_probabilities)
    scores = []
    for ids in rows:
        # Padding on the right is seen by no token before it.
        width = min(bucket(len(ids)), model.max_length + 1)
        padded = np.zeros((1, width), "int32")
        padded[0, : len(ids)] = ids
        values = ops.convert_to_numpy(compiled(ops.convert_to_tensor(padded)))
        scores.append(Score(ids[1:], values[: len(ids) - 1].tolist()))
    return scores
