"""The text encoder of CLIP."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers import (
    Embedding,
    LayerNormalization,
    TransformerBlock,
)


def quick_gelu(x: Any) -> Any:
    """Gives `x * sigmoid(1.702 x)`, as the first CLIP has it.

    Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2.
    """
    return x * ops.sigmoid(1.702 * x)


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": keras.activations.gelu}


@keras.saving.register_keras_serializable("diffusion")
class CLIPTextEncoder(keras.Model):
    """The text encoder of CLIP, of which Stable Diffusion takes every token.

    Radford et al. 2021, "Learning Transferable Visual Models From Natural
    Language Supervision", section 2.4. The defaults are ViT-L/14, that of
    Stable Diffusion 1. Version 2 takes OpenCLIP's ViT-H/14 without its last
    layer: `num_layers=24, num_heads=16, hidden_dim=1024,
    intermediate_dim=4096, activation="gelu", skip_layers=1`.

    Args:
        vocabulary_size: number of tokens.
        num_layers: number of blocks.
        num_heads: attention heads per block; it must divide `hidden_dim`.
        hidden_dim: width of the stream.
        intermediate_dim: width inside the perceptrons.
        max_length: number of positions.
        activation: `"quick_gelu"` or `"gelu"`.
        skip_layers: how many of the last blocks are left out. They have no
            weights here.
        epsilon: added to the variance by the normalizations.
        **kwargs: arguments of `keras.Model` (`name`, `dtype`).

    Call arguments:
        token_ids: integers `(B, T)` in `[0, vocabulary_size)`.
        padding_mask: bool `(B, T)`, false at tokens that no other may see;
            all are seen if `None`, as in Stable Diffusion.

    Returns:
        Float32 `(B, T, hidden_dim)`, normalized.

    Raises:
        ValueError: if an argument is out of range, or there are more tokens
            than positions.

    Example:
        >>> import numpy as np
        >>> encoder = CLIPTextEncoder(50, 1, 2, 8, 16, max_length=5)
        >>> encoder(np.array([[1, 7, 3]])).shape
        (1, 3, 8)
    """

    def __init__(
        self,
        vocabulary_size: int = 49408,
        num_layers: int = 12,
        num_heads: int = 12,
        hidden_dim: int = 768,
        intermediate_dim: int = 3072,
        max_length: int = 77,
        activation: str = "quick_gelu",
        skip_layers: int = 0,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {', '.join(ACTIVATIONS)}. "
                f"Received: activation={activation}"
            )
        if not 0 <= skip_layers < num_layers:
            raise ValueError(
                "`skip_layers` must leave a block. Received: "
                f"skip_layers={skip_layers}, num_layers={num_layers}"
            )
        if num_heads < 1 or hidden_dim % num_heads:
            raise ValueError(
                "`num_heads` must divide `hidden_dim`. Received: "
                f"num_heads={num_heads}, hidden_dim={hidden_dim}"
            )
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.max_length = max_length
        self.activation = activation
        self.skip_layers = skip_layers
        self.epsilon = epsilon

        policy = self.dtype_policy
        normal = keras.initializers.RandomNormal(stddev=0.02)
        self.tokens = Embedding(
            vocabulary_size, hidden_dim, normal.clone(), dtype=policy
        )
        self.positions = Embedding(
            max_length, hidden_dim, normal.clone(), dtype=policy
        )
        self.blocks = tuple(
            TransformerBlock(
                num_heads,
                intermediate_dim,
                ACTIVATIONS[activation],
                causal=True,
                epsilon=epsilon,
                kernel_initializer=normal,
                dtype=policy,
            )
            for _ in range(num_layers - skip_layers)
        )
        self.norm = LayerNormalization(epsilon=epsilon, dtype=policy)

    def build(self, *_: Any) -> None:
        """Makes the weights, if they are not there yet."""
        if self.built:
            return
        shape = (None, None, self.hidden_dim)
        self.tokens.build()
        self.positions.build()
        layers: list[keras.Layer] = [*self.blocks, self.norm]
        for layer in layers:
            layer.build(shape)

    def call(self, token_ids: Any, padding_mask: Any = None) -> Any:
        """Encodes the tokens; see the class."""
        return self.encode(self.tokens(token_ids), padding_mask)

    def encode(self, vectors: Any, padding_mask: Any = None) -> Any:
        """Encodes the vectors of tokens, `(B, T, hidden_dim)`; see the class.

        Raises:
            ValueError: if there are more tokens than positions.
        """
        length = vectors.shape[1]
        if length > self.max_length:
            raise ValueError(
                f"the encoder has {self.max_length} positions. "
                f"Received: {length} tokens"
            )
        positions = ops.arange(length, dtype="int32")  # (T,)
        x = vectors + self.positions(positions)  # (B, T, D)
        for block in self.blocks:
            x = block(x, padding_mask)
        return ops.cast(self.norm(x), "float32")

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "intermediate_dim": self.intermediate_dim,
            "max_length": self.max_length,
            "activation": self.activation,
            "skip_layers": self.skip_layers,
            "epsilon": self.epsilon,
        }
