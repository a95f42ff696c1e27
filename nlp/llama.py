"""Llama, a decoder that predicts the next token."""

from typing import TYPE_CHECKING, Any

import keras

from keras_multi.layers import Embedding, SelfAttention, SwiGLU
from nlp.causal_lm import CausalLM, check_sizes, tied_logits

if TYPE_CHECKING:
    from nlp.generation.decoder import Decoder, Weights
    from nlp.tokenizer import Tokenizer

STANDARD_DEVIATION = 0.02


@keras.saving.register_keras_serializable("nlp")
class Llama(CausalLM):
    """Llama: rotary positions, shared keys and values, gated perceptrons.

    Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language
    Models", section 2.2, with heads that share keys and values as in Llama 2,
    and the head tied to the tokens as in the small models of this type. The
    matrices whose products are added to the stream start smaller by the
    square root of their number.

    Args:
        vocabulary_size: number of tokens.
        num_layers: number of blocks.
        num_heads: attention heads per block; it must divide `hidden_dim`, and
            the width of a head must be even.
        hidden_dim: width of the stream.
        intermediate_dim: width inside the perceptrons.
        num_key_value_heads: heads of keys and values; it must divide
            `num_heads`, which it is if `None`.
        max_length: number of tokens that the model can look at.
        rotary_base: base of the rotary position embedding.
        epsilon: added to the mean square by the normalizations.
        tokenizer: turns texts into tokens and back, for `generate`.
        **kwargs: arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        token_ids: integers `(batch, tokens)` in `[0, vocabulary_size)`.
        padding_mask: bool `(batch, tokens)`, false at padding, on whichever
            side. No padding if `None`.

    Returns:
        Float32 logits `(batch, tokens, vocabulary_size)`: those of the token
        that follows each token.

    Raises:
        ValueError: if an argument is out of range, or there are more tokens
            than `max_length`.

    Example:
        >>> import numpy as np
        >>> model = Llama(50, 1, 4, 16, 24, num_key_value_heads=2)
        >>> model(np.array([[3, 1, 4]])).shape
        (1, 3, 50)
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        num_key_value_heads: int | None = None,
        max_length: int = 2048,
        rotary_base: float = 10000.0,
        epsilon: float = 1e-5,
        tokenizer: "Tokenizer | None" = None,
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
        if hidden_dim % (2 * num_heads):
            raise ValueError(
                "`num_heads` must divide `hidden_dim` into even parts. "
                f"Received: num_heads={num_heads}, hidden_dim={hidden_dim}"
            )
        if not rotary_base > 0:
            raise ValueError(
                "`rotary_base` must be positive. "
                f"Received: rotary_base={rotary_base}"
            )
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.num_key_value_heads = (
            num_heads if num_key_value_heads is None else num_key_value_heads
        )
        self.max_length = max_length
        self.rotary_base = rotary_base
        self.epsilon = epsilon
        self.tokenizer = tokenizer

        policy = self.dtype_policy
        self.tokens = Embedding(
            vocabulary_size,
            hidden_dim,
            keras.initializers.RandomNormal(stddev=STANDARD_DEVIATION),
            dtype=policy,
        )
        self.blocks = [
            LlamaBlock(
                num_heads,
                self.num_key_value_heads,
                intermediate_dim,
                rotary_base,
                epsilon,
                output_deviation=STANDARD_DEVIATION / (2 * num_layers) ** 0.5,
                dtype=policy,
            )
            for _ in range(num_layers)
        ]
        self.norm = keras.layers.RMSNormalization(epsilon=epsilon, dtype=policy)

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights, if they are not there yet."""
        if self.built:
            return
        shape = (None, None, self.hidden_dim)
        self.tokens.build()
        for block in self.blocks:
            block.build(shape)
        self.norm.build(shape)

    def call(self, token_ids: Any, padding_mask: Any = None) -> Any:
        """Predicts the token after each token; see the class."""
        if token_ids.shape[1] > self.max_length:
            raise ValueError(
                f"the model looks at {self.max_length} tokens. "
                f"Received: token_ids of shape {token_ids.shape}"
            )
        x = self.tokens(token_ids)  # (B, T, D)
        for block in self.blocks:
            x = block(x, padding_mask)
        return tied_logits(self.norm(x), self.tokens.table())

    def decoder(self) -> "tuple[Decoder, Weights]":
        """Gives the model as generation wants it, with the weights of now."""
        from nlp.generation.llama import LlamaDecoder, weights_of

        decoder = LlamaDecoder(
            self.num_heads,
            self.num_key_value_heads,
            self.rotary_base,
            self.epsilon,
        )
        return decoder, weights_of(self)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor, but for the tokenizer."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "intermediate_dim": self.intermediate_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "max_length": self.max_length,
            "rotary_base": self.rotary_base,
            "epsilon": self.epsilon,
        }


class LlamaBlock(keras.layers.Layer):
    """`x + attention(norm(x))`, then `x + swiglu(norm(x))`.

    Args:
        num_heads: attention heads.
        num_key_value_heads: heads of keys and values.
        intermediate_dim: width inside the perceptron.
        rotary_base: base of the rotary position embedding.
        epsilon: added to the mean square by the normalizations.
        output_deviation: standard deviation of the two matrices whose
            products are added to `x`.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        num_heads: int,
        num_key_value_heads: int,
        intermediate_dim: int,
        rotary_base: float,
        epsilon: float,
        output_deviation: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        normal = keras.initializers.RandomNormal(stddev=STANDARD_DEVIATION)
        added = keras.initializers.RandomNormal(stddev=output_deviation)
        self.attention_norm = keras.layers.RMSNormalization(
            epsilon=epsilon, dtype=policy
        )
        self.attention = SelfAttention(
            num_heads,
            causal=True,
            use_bias=False,
            kernel_initializer=normal,
            output_initializer=added,
            num_key_value_heads=num_key_value_heads,
            rotary_base=rotary_base,
            dtype=policy,
        )
        self.mlp_norm = keras.layers.RMSNormalization(
            epsilon=epsilon, dtype=policy
        )
        self.mlp = SwiGLU(intermediate_dim, normal, added, dtype=policy)

    def build(self, input_shape: Any, *_: Any) -> None:
        """Makes the weights."""
        for layer in (
            self.attention_norm,
            self.attention,
            self.mlp_norm,
            self.mlp,
        ):
            layer.build(input_shape)

    def call(self, x: Any, padding_mask: Any = None) -> Any:
        """Computes `(batch, tokens, dim)` from the same."""
        x = x + self.attention(self.attention_norm(x), padding_mask)
        return x + self.mlp(self.mlp_norm(x))

    def compute_output_shape(self, input_shape: Any, *_: Any) -> Any:
        """Gives the shape of the inputs."""
        return input_shape
