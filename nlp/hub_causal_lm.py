"""A causal language model of keras-nlp, and how generation calls it."""

from typing import Any, ClassVar

import keras
from keras import ops

from nlp.causal_lm import CausalLM
from nlp.generation.decoder import Caches
from nlp.pieces import tokenizer_of

CONTEXT = 2048  # of a model that does not tell


class HubCausalLM(CausalLM):
    """A causal language model of keras-nlp with the generation of this package.

    Args:
        task: a `keras_nlp.models.CausalLM`.
        **kwargs: arguments of `keras.Model`.

    Call arguments:
        token_ids: integers `(batch, tokens)`.
        padding_mask: bool `(batch, tokens)`, false at padding on the right.

    Returns:
        Float32 logits `(batch, tokens, vocabulary_size)`.
    """

    def __init__(self, task: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task
        backbone = task.backbone
        self.vocabulary_size = backbone.vocabulary_size
        self.max_length = (
            getattr(backbone, "max_sequence_length", None) or CONTEXT
        )
        self.tokenizer = None
        if task.preprocessor is not None:
            self.tokenizer = tokenizer_of(task)
            if task.preprocessor.add_start_token:
                start = task.preprocessor.tokenizer.start_token_id
                self.tokenizer.start_ids = (int(start),)
        self.built = True

    def call(self, token_ids: Any, padding_mask: Any = None) -> Any:
        """Predicts the token after each token; see the class."""
        if padding_mask is None:
            padding_mask = ops.ones_like(token_ids)
        inputs = {
            "token_ids": token_ids,
            "padding_mask": ops.cast(padding_mask, "int32"),
        }
        return ops.cast(self.task(inputs), "float32")

    def decoder(self) -> "tuple[HubDecoder, list[Any]]":
        """Gives the model as generation wants it, with the weights of now."""
        return HubDecoder(self.task), [v.value for v in self.task.variables]


class HubDecoder:
    """The decoder of a causal model of keras-nlp; see `Decoder`.

    The model counts positions from the first slot of its cache. So a prompt
    stands at the beginning there, and padding, which `Decoder` has on the
    left, after it, where the next tokens overwrite it. All rows must begin in
    the same slot.

    Args:
        task: the model.
    """

    one_by_one: ClassVar[bool] = True  # whether each prompt runs alone
    gives_logits: ClassVar[bool] = True  # in place of the stream

    def __init__(self, task: Any) -> None:
        self.task = task

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HubDecoder) and self.task is other.task

    def __hash__(self) -> int:
        return id(self.task)

    def empty(self, weights: Any, batch: int, slots: int) -> Caches:
        """Makes caches; see `Decoder`. The values follow on the keys."""
        backbone = self.task.backbone
        heads = getattr(backbone, "num_query_heads", None) or backbone.num_heads
        groups = getattr(backbone, "num_key_value_heads", None) or heads
        head_dim = (
            getattr(backbone, "head_dim", None) or backbone.hidden_dim // heads
        )
        shape = (batch, backbone.num_layers, slots, groups, head_dim)
        dtype = self.task.compute_dtype
        return ((ops.zeros(shape, dtype), ops.zeros(shape, dtype)),)

    def __call__(
        self,
        weights: Any,
        token_ids: Any,
        positions: Any,
        caches: Caches,
        slot: Any,
        mask: Any,
    ) -> tuple[Any, Caches]:
        """Computes tokens; see `Decoder`. Gives logits for the stream."""
        tokens = token_ids.shape[1]
        first, last = positions[0, 0], positions[0, -1]
        padding = tokens - 1 - (last - first)
        places = ops.arange(tokens, dtype="int32")
        aligned = ops.take(token_ids, (places + padding) % tokens, axis=1)
        mapping = list(zip(self.task.variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            logits, _, cache = self.task.call_with_cache(
                aligned, ops.stack(caches[0], axis=2), first
            )
        back = (places - padding + tokens) % tokens
        return (
            ops.take(logits, back, axis=1),
            ((cache[:, :, 0], cache[:, :, 1]),),
        )

    def logits(self, weights: Any, hidden: Any) -> Any:
        """Gives the logits, which stand for the stream, in float32."""
        return ops.cast(hidden, "float32")
