"""A block of a transformer, normalised before each part."""

from typing import Any

import keras

from keras_multi.layers.feature_cross import Shape, clone_initializer
from keras_multi.layers.layer_normalization import LayerNormalization
from keras_multi.layers.self_attention import Cache, SelfAttention


@keras.saving.register_keras_serializable("keras_multi")
class TransformerBlock(keras.layers.Layer):
    """Self-attention, then a perceptron, each normalised before and added.

    `x + attention(norm(x))`, then `x + mlp(norm(x))`: the pre-norm form of
    Radford et al. 2019, "Language Models are Unsupervised Multitask
    Learners", section 2.3. It is the block of GPT-2, and with other
    activations that of the encoders of CLIP and of vision transformers.

    Args:
        num_heads: number of attention heads; it must divide the width.
        hidden_dim: width inside the perceptron; four times that of the
            inputs if `None`.
        activation: activation inside the perceptron.
        causal: whether a token sees itself and earlier tokens only.
        dropout: share of the values of both parts set to zero in training
            before they are added, in [0, 1).
        epsilon: added to the variance by the normalizations.
        kernel_initializer: initializer of the matrices.
        output_initializer: initializer of the two matrices whose products
            are added to `x`; `kernel_initializer` if `None`.
        gradient_checkpointing: whether training keeps only what enters both
            parts and computes the inside anew on the way back (Chen et al.
            2016, "Training Deep Nets with Sublinear Memory Cost", section
            4.1): slower, with less memory.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor `(batch, tokens, dim)`; tokens and dim static.
        padding_mask: see `SelfAttention`.
        cache: see `SelfAttention`.
        position: see `SelfAttention`.
        training: whether dropout is active.

    Returns:
        Float tensor of the shape of the inputs. With a cache, the pair of it
        and the new cache.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import TransformerBlock
        >>> TransformerBlock(2)(np.ones((1, 3, 8), "float32")).shape
        (1, 3, 8)
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int | None = None,
        activation: Any = "gelu",
        causal: bool = False,
        dropout: float = 0.0,
        epsilon: float = 1e-5,
        kernel_initializer: Any = "glorot_uniform",
        output_initializer: Any = None,
        gradient_checkpointing: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if hidden_dim is not None and hidden_dim < 1:
            raise ValueError(
                "`hidden_dim` must be a positive integer or None. "
                f"Received: hidden_dim={hidden_dim}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(
                f"`dropout` must lie in [0, 1). Received: dropout={dropout}"
            )
        self.hidden_dim = hidden_dim
        self.activation = keras.activations.get(activation)
        self.dropout_rate = dropout
        self.epsilon = epsilon
        self.gradient_checkpointing = gradient_checkpointing
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer)
        self.attention = SelfAttention(
            num_heads,
            causal,
            kernel_initializer=self.kernel_initializer,
            output_initializer=self.output_initializer,
            dtype=self.dtype_policy,
        )
        self.attention_norm = self._norm()
        self.mlp_norm = self._norm()
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def _norm(self) -> keras.layers.Layer:
        return LayerNormalization(epsilon=self.epsilon, dtype=self.dtype_policy)

    def build(self, input_shape: Shape, *_: Any) -> None:
        dim = input_shape[-1]
        if dim is None:
            raise ValueError(
                "the width of the inputs must be static. "
                f"Received: input_shape={input_shape}"
            )
        self.attention_norm.build(input_shape)
        self.attention.build(input_shape)
        self.mlp_norm.build(input_shape)
        self.expand = keras.layers.Dense(
            self.hidden_dim or 4 * dim,
            self.activation,
            kernel_initializer=clone_initializer(self.kernel_initializer),
            dtype=self.dtype_policy,
        )
        self.expand.build(input_shape)
        self.contract = keras.layers.Dense(
            dim,
            kernel_initializer=clone_initializer(
                self.output_initializer or self.kernel_initializer
            ),
            dtype=self.dtype_policy,
        )
        self.contract.build((*input_shape[:-1], self.expand.units))

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        cache: Cache | None = None,
        position: Any = None,
        training: bool | None = None,
    ) -> Any:
        def attend(x: Any) -> Any:
            return self.attention(
                self.attention_norm(x),
                padding_mask,
                cache=cache,
                position=position,
            )

        def transform(x: Any) -> Any:
            return self.contract(self.expand(self.mlp_norm(x)))

        if self.gradient_checkpointing and training:
            # The dropout stays outside: it would draw anew.
            attend, transform = keras.remat(attend), keras.remat(transform)
        attended, new_cache = attend(inputs), None
        if cache is not None:
            attended, new_cache = attended
        x = inputs + self.dropout(attended, training=training)
        x = x + self.dropout(transform(x), training=training)
        return x if cache is None else (x, new_cache)

    def compute_output_shape(self, input_shape: Shape, *_: Any) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.attention.num_heads,
            "hidden_dim": self.hidden_dim,
            "activation": keras.activations.serialize(self.activation),
            "causal": self.attention.causal,
            "dropout": self.dropout_rate,
            "epsilon": self.epsilon,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "output_initializer": keras.initializers.serialize(
                self.output_initializer
            ),
            "gradient_checkpointing": self.gradient_checkpointing,
        }
