"""The BERT of sentence embeddings, and how it takes pretrained weights."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_multi.errors import DataError
from keras_multi.layers import Embedding, LayerNormalization


class BertBlock(keras.layers.Layer):
    """Self-attention and a perceptron, each added and then normalised.

    Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers
    for language understanding", section 3, after Vaswani et al. 2017,
    "Attention is all you need", section 3.1.

    Args:
        num_heads: number of heads; must divide `dim`.
        dim: width.
        hidden_dim: width of the perceptron inside.
        epsilon: added to the variance by the normalization.

    Call arguments:
        inputs: float tensor `(batch, tokens, dim)`.
        mask: bool tensor `(batch, tokens)`, false at padding.
    """

    def __init__(
        self,
        num_heads: int,
        dim: int,
        hidden_dim: int,
        epsilon: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(
            num_heads, dim // num_heads
        )
        self.attention_norm = LayerNormalization(epsilon=epsilon)
        self.expand = keras.layers.Dense(hidden_dim, activation="gelu")
        self.contract = keras.layers.Dense(dim)
        self.output_norm = LayerNormalization(epsilon=epsilon)

    def build(self, inputs_shape: Any, mask_shape: Any = None) -> None:
        """Makes the weights."""
        self.attention.build(inputs_shape, inputs_shape)
        self.attention_norm.build(inputs_shape)
        self.expand.build(inputs_shape)
        self.contract.build((*inputs_shape[:-1], self.expand.units))
        self.output_norm.build(inputs_shape)

    def call(self, inputs: Any, mask: Any) -> Any:
        """Gives a tensor of the shape of the inputs."""
        attended = self.attention(
            inputs, inputs, attention_mask=mask[:, None, :]
        )
        x = self.attention_norm(inputs + attended)
        return self.output_norm(x + self.contract(self.expand(x)))


class SentenceBert(keras.Model):
    """A BERT whose output is the mean over the tokens, of length 1.

    Args:
        vocabulary_size: number of tokens.
        max_tokens: number of positions.
        num_layers: number of blocks.
        num_heads: heads per block.
        dim: width of the embeddings.
        hidden_dim: width of the perceptrons.
        epsilon: added to the variance by the normalizations.

    Call arguments:
        inputs: int32 tensor `(batch, tokens)`, -1 at padding.

    Returns:
        Float tensor `(batch, dim)`.

    Example:
        >>> model = SentenceBert(30, 8, 1, 2, 4, 8)
        >>> model(np.array([[1, 2, -1]])).shape
        (1, 4)
    """

    def __init__(
        self,
        vocabulary_size: int,
        max_tokens: int,
        num_layers: int,
        num_heads: int,
        dim: int,
        hidden_dim: int,
        epsilon: float = 1e-12,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tokens = Embedding(vocabulary_size, dim)
        self.positions = Embedding(max_tokens, dim)
        self.norm = LayerNormalization(epsilon=epsilon)
        self.blocks = [
            BertBlock(num_heads, dim, hidden_dim, epsilon)
            for _ in range(num_layers)
        ]

    def call(self, inputs: Any) -> Any:
        """Embeds token ids; see the class."""
        mask = ops.not_equal(inputs, -1)
        positions = ops.arange(inputs.shape[1], dtype="int32")
        x = self.tokens(ops.where(mask, inputs, 0)) + self.positions(positions)
        x = self.norm(x)  # (B, T, D)
        for block in self.blocks:
            x = block(x, mask)
        share = ops.cast(mask, x.dtype)[:, :, None]
        mean = ops.sum(x * share, axis=1) / ops.sum(share, axis=1)
        return ops.normalize(mean, axis=-1)

    def load_bert(self, weights: Mapping[str, np.ndarray]) -> None:
        """Takes the weights of a BERT of the `transformers` library.

        Args:
            weights: name to array, as in its safetensors file.

        Raises:
            DataError: if a weight is missing or of another shape.
        """
        self(np.zeros((1, 1), np.int32))
        try:
            self._assign(weights)
        except KeyError as error:
            raise DataError(f"the weights lack {error}") from error
        except ValueError as error:
            raise DataError(f"the weights do not fit: {error}") from error

    def _assign(self, weights: Mapping[str, np.ndarray]) -> None:
        embeddings = {
            kind: weights[f"embeddings.{kind}_embeddings.weight"]
            for kind in ("word", "position", "token_type")
        }
        self.tokens.set_weights([embeddings["word"]])
        # All tokens belong to the first sentence.
        first = embeddings["token_type"][:1]
        positions = embeddings["position"][: self.positions.input_dim]
        self.positions.set_weights([positions + first])
        self.norm.set_weights(_norm(weights, "embeddings.LayerNorm"))
        for i, block in enumerate(self.blocks):
            name = f"encoder.layer.{i}"
            heads = [
                *(
                    f"attention.self.{part}"
                    for part in ("query", "key", "value")
                ),
                "attention.output.dense",
            ]
            shapes = [weight.shape for weight in block.attention.weights]
            values = [
                value
                for head in heads
                for value in _dense(weights, f"{name}.{head}")
            ]
            block.attention.set_weights(
                [v.reshape(s) for v, s in zip(values, shapes, strict=True)]
            )
            block.attention_norm.set_weights(
                _norm(weights, f"{name}.attention.output.LayerNorm")
            )
            block.expand.set_weights(
                _dense(weights, f"{name}.intermediate.dense")
            )
            block.contract.set_weights(_dense(weights, f"{name}.output.dense"))
            block.output_norm.set_weights(
                _norm(weights, f"{name}.output.LayerNorm")
            )


def _dense(weights: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """Matrix and bias; PyTorch keeps the matrix transposed."""
    return [weights[f"{name}.weight"].T, weights[f"{name}.bias"]]


def _norm(weights: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    return [weights[f"{name}.weight"], weights[f"{name}.bias"]]
