"""Encoders of keras-nlp: vectors of texts, and words for gaps."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.errors import UsageError
from nlp.generation.prompts import bucket


class Filling(NamedTuple):
    """What may stand in a gap.

    Attributes:
        token: the text of the token.
        probability: of it, by the model.
        text: the whole text with it in the gap.
    """

    token: str
    probability: float
    text: str


class Encoder:
    """An encoder such as RoBERTa or ALBERT, with its head for masked tokens.

    Args:
        task: a `keras_nlp.models.MaskedLM` with its preprocessor.
        tokenizer: that of the preprocessor, as `tokenizer_of` makes it.

    Attributes:
        mask: how a gap is written in a text.
        max_length: number of tokens that the model can look at.
    """

    def __init__(self, task: Any, tokenizer: Any) -> None:
        theirs = task.preprocessor.tokenizer
        self.task = task
        self.tokenizer = tokenizer
        self.mask: str = theirs.mask_token
        self.max_length = int(task.backbone.max_sequence_length)
        self._start_id = int(theirs.start_token_id)
        self._mask_id = int(theirs.mask_token_id)
        self._pad_id = int(theirs.pad_token_id)
        self._encode = backend.bind(task.backbone, self._vectors)
        self._predict = backend.bind(task, self._shares)

    def encode(self, texts: str | Sequence[str]) -> np.ndarray:
        """Turns texts into vectors: the mean of those of their tokens.

        Args:
            texts: a text, or several.

        Returns:
            Float32 `(texts, dim)`; `(dim,)` for a single text.

        Raises:
            UsageError: if there is no text, or one does not fit into the
                model.
        """
        items = [texts] if isinstance(texts, str) else list(texts)
        if not items:
            raise UsageError("there is no text to encode")
        ids = self.tokenizer.encode_batch(items)
        vectors = ops.convert_to_numpy(self._encode(self._inputs(ids)))
        return vectors[0] if isinstance(texts, str) else vectors

    def fill_mask(self, text: str, k: int = 5) -> list[Filling]:
        """Gives the most probable tokens for the gap in a text.

        Args:
            text: with one gap, written as `mask`.
            k: number of tokens.

        Raises:
            UsageError: if there is not exactly one gap, or the text does not
                fit into the model, or `k` is less than 1.
        """
        if text.count(self.mask) != 1:
            raise UsageError(
                f"a text must have one gap, written {self.mask}. "
                f"Received: {text!r}"
            )
        if k < 1:
            raise UsageError(f"k must be at least 1. Received: {k}")
        before, after = text.split(self.mask)
        # A token begins with the space before it.
        left, right = self.tokenizer.encode_batch([before.rstrip(" "), after])
        inputs = self._inputs([[*left, self._mask_id, *right]])
        place = ops.convert_to_tensor([[len(left) + 1]], "int32")
        shares = self._predict(inputs | {"mask_positions": place})
        shares = ops.convert_to_numpy(shares)[0, 0]
        fillings = []
        for i in np.argsort(-shares, kind="stable")[:k].tolist():
            token = self.tokenizer.decode_bytes([i]).decode("utf-8", "replace")
            start = before.rstrip(" ") if token.startswith(" ") else before
            whole = f"{start}{token}{after}"
            fillings.append(Filling(token, float(shares[i]), whole))
        return fillings

    def _inputs(self, texts: Sequence[Sequence[int]]) -> dict[str, Any]:
        """Adds start and end, and padding up to a size that doubles."""
        rows = [[self._start_id, *ids, self.tokenizer.end_id] for ids in texts]
        longest = max(map(len, rows))
        if longest > self.max_length:
            raise UsageError(
                f"the model looks at {self.max_length} tokens, start and end "
                f"included. Received: {longest}"
            )
        width = min(bucket(longest), self.max_length)
        ids = np.full((len(rows), width), self._pad_id, "int32")
        mask = np.zeros((len(rows), width), "int32")
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
        inputs = {"token_ids": ids, "padding_mask": mask}
        if "segment_ids" in self.task.backbone.input:
            inputs["segment_ids"] = np.zeros_like(ids)
        return {k: ops.convert_to_tensor(v) for k, v in inputs.items()}

    def _vectors(self, inputs: dict[str, Any]) -> Any:
        stream = self.task.backbone(inputs)
        if isinstance(stream, dict):
            stream = stream["sequence_output"]
        kept = ops.cast(inputs["padding_mask"], "float32")[:, :, None]
        total = ops.sum(ops.cast(stream, "float32") * kept, axis=1)
        return total / ops.sum(kept, axis=1)

    def _shares(self, inputs: dict[str, Any]) -> Any:
        return ops.softmax(ops.cast(self.task(inputs), "float32"), axis=-1)
