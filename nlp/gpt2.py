"""GPT-2, a decoder that predicts the next token."""

import os
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_multi.layers import (
    Embedding,
    LayerNormalization,
    TransformerBlock,
    gelu_tanh,
)
from nlp.causal_lm import CausalLM, check_sizes, tied_logits

if TYPE_CHECKING:
    from nlp.generation.decoder import Decoder, Weights
    from nlp.tokenizer import Tokenizer

STANDARD_DEVIATION = 0.02


@keras.saving.register_keras_serializable("nlp")
class GPT2(CausalLM):
    """GPT-2: learned positions, pre-norm blocks, a head tied to the tokens.

    Radford et al. 2019, "Language Models are Unsupervised Multitask
    Learners", section 2.3. The matrices whose products are added to the
    stream start smaller by the square root of their number, so that its
    variance does not grow with the depth.

    Args:
        vocabulary_size: number of tokens.
        num_layers: number of blocks.
        num_heads: attention heads per block; it must divide `hidden_dim`.
        hidden_dim: width of the stream.
        intermediate_dim: width inside the perceptrons; four times
            `hidden_dim` if `None`.
        max_length: number of positions.
        dropout: share of values set to zero in training, of the embeddings
            and of what each block adds, in [0, 1).
        epsilon: added to the variance by the normalizations.
        tokenizer: turns texts into tokens and back, for `generate`.
        gradient_checkpointing: see `TransformerBlock`.
        **kwargs: arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        token_ids: integers `(batch, tokens)` in `[0, vocabulary_size)`.
        padding_mask: bool `(batch, tokens)`, false at padding, on whichever
            side; positions count the other tokens. No padding if `None`.
        training: whether dropout is active.

    Returns:
        Float32 logits `(batch, tokens, vocabulary_size)`: those of the token
        that follows each token.

    Raises:
        ValueError: if an argument is out of range, or there are more tokens
            than positions.

    Example:
        >>> import numpy as np
        >>> model = GPT2(50, num_layers=1, num_heads=2, hidden_dim=8)
        >>> model(np.array([[3, 1, 4]])).shape
        (1, 3, 50)
    """

    def __init__(
        self,
        vocabulary_size: int = 50257,
        num_layers: int = 12,
        num_heads: int = 12,
        hidden_dim: int = 768,
        intermediate_dim: int | None = None,
        max_length: int = 1024,
        dropout: float = 0.1,
        epsilon: float = 1e-5,
        tokenizer: "Tokenizer | None" = None,
        gradient_checkpointing: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_sizes(
            vocabulary_size=vocabulary_size,
            num_layers=num_layers,
            num_heads=num_heads,
            hidden_dim=hidden_dim,
            max_length=max_length,
        )
        if hidden_dim % num_heads:
            raise ValueError(
                "`num_heads` must divide `hidden_dim`. Received: "
                f"num_heads={num_heads}, hidden_dim={hidden_dim}"
            )
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim or 4 * hidden_dim
        self.max_length = max_length
        self.dropout_rate = dropout
        self.epsilon = epsilon
        self.tokenizer = tokenizer
        self.gradient_checkpointing = gradient_checkpointing

        policy = self.dtype_policy
        normal = keras.initializers.RandomNormal(stddev=STANDARD_DEVIATION)
        added = keras.initializers.RandomNormal(
            stddev=STANDARD_DEVIATION / (2 * num_layers) ** 0.5
        )
        self.tokens = Embedding(
            vocabulary_size, hidden_dim, normal.clone(), dtype=policy
        )
        self.positions = Embedding(
            max_length, hidden_dim, normal.clone(), dtype=policy
        )
        self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.blocks = [
            TransformerBlock(
                num_heads,
                self.intermediate_dim,
                gelu_tanh,
                causal=True,
                dropout=dropout,
                epsilon=epsilon,
                kernel_initializer=normal,
                output_initializer=added,
                gradient_checkpointing=gradient_checkpointing,
                dtype=policy,
            )
            for _ in range(num_layers)
        ]
        self.norm = LayerNormalization(epsilon=epsilon, dtype=policy)

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights, if they are not there yet."""
        if self.built:
            return
        shape = (None, None, self.hidden_dim)
        self.tokens.build()
        self.positions.build()
        for block in self.blocks:
            block.build(shape)
        self.norm.build(shape)

    def call(
        self,
        token_ids: Any,
        padding_mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Predicts the token after each token; see the class."""
        length = token_ids.shape[1]
        if length > self.max_length:
            raise ValueError(
                f"the model has {self.max_length} positions. "
                f"Received: token_ids of shape {token_ids.shape}"
            )
        if padding_mask is None:
            positions = ops.arange(length, dtype="int32")  # (T,)
        else:
            kept = ops.cast(padding_mask, "int32")
            positions = ops.maximum(ops.cumsum(kept, axis=1) - 1, 0)  # (B, T)
        x = self.tokens(token_ids) + self.positions(positions)  # (B, T, D)
        x = self.dropout(x, training=training)
        for block in self.blocks:
            x = block(x, padding_mask, training=training)
        return tied_logits(self.norm(x), self.tokens.table())

    def save_to_preset(self, folder: str | os.PathLike[str]) -> None:
        """Writes weights, configuration and tokenizer into a folder.

        `from_preset` loads it, and so does `transformers`: the files are
        `model.safetensors`, `config.json` and `tokenizer.json`.

        Args:
            folder: made if it is not there; files of a model in it are
                replaced.

        Raises:
            KerasMultiError: if the folder cannot be written.
            UsageError: if the model is quantised.
        """
        from nlp.folder import write

        write(self, folder)

    def decoder(self) -> "tuple[Decoder, Weights]":
        """Gives the model as generation wants it, with the weights of now."""
        from nlp.generation.gpt2 import GPT2Decoder, weights_of

        return GPT2Decoder(self.num_heads, self.epsilon), weights_of(self)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor, but for the tokenizer."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "intermediate_dim": self.intermediate_dim,
            "max_length": self.max_length,
            "dropout": self.dropout_rate,
            "epsilon": self.epsilon,
            "gradient_checkpointing": self.gradient_checkpointing,
        }
