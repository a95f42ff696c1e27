"""Multi-layer perceptron."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_multi.layers.feature_cross import Shape, clone_initializer
from keras_multi.layers.layer_normalization import LayerNormalization

NORMALIZATIONS = {
    "batch": keras.layers.BatchNormalization,
    "layer": LayerNormalization,
}


@keras.saving.register_keras_serializable("keras_multi")
class MLP(keras.layers.Layer):
    """Dense layers one after the other.

    Each hidden layer is dense, normalization (if asked for), activation,
    dropout (if asked for), in this order; the last one is dense and
    `final_activation`.

    Args:
        units: positive integers, the width of each layer.
        activation: activation of all layers but the last.
        final_activation: activation of the last layer, linear by default.
        use_bias: whether the dense layers have a bias.
        dropout: share of hidden values set to zero in training, in [0, 1).
        normalization: `None`, `"batch"` or `"layer"`.
        kernel_initializer: initializer of the matrices.
        kernel_regularizer: regularizer of the matrices.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor `(batch, ..., dim)`.
        training: whether dropout and batch normalization are active.

    Returns:
        Float tensor `(batch, ..., units[-1])`.

    Raises:
        ValueError: if `units` is empty or holds a number below 1, or
            `normalization` or `dropout` is not one of the above.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import MLP
        >>> MLP([8, 4, 1])(np.ones((2, 3), "float32")).shape
        (2, 1)
    """

    def __init__(
        self,
        units: Sequence[int],
        activation: Any = "relu",
        final_activation: Any = None,
        use_bias: bool = True,
        dropout: float = 0.0,
        normalization: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not units or any(n < 1 for n in units):
            raise ValueError(
                "`units` must hold at least one positive integer. "
                f"Received: units={units}"
            )
        if normalization is not None and normalization not in NORMALIZATIONS:
            raise ValueError(
                "`normalization` must be None, 'batch' or 'layer'. "
                f"Received: normalization={normalization!r}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(
                f"`dropout` must lie in [0, 1). Received: dropout={dropout}"
            )
        self.units = tuple(units)
        self.activation = keras.activations.get(activation)
        self.final_activation = keras.activations.get(final_activation)
        self.use_bias = use_bias
        self.dropout = dropout
        self.normalization = normalization
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self.blocks = [
            *(
                block
                for width in self.units[:-1]
                for block in self._hidden(width)
            ),
            self._dense(self.units[-1], self.final_activation),
        ]

    def _hidden(self, width: int) -> list[keras.layers.Layer]:
        policy = self.dtype_policy
        if self.normalization is None:
            blocks = [self._dense(width, self.activation)]
        else:
            blocks = [
                self._dense(width, None),
                NORMALIZATIONS[self.normalization](dtype=policy),
                keras.layers.Activation(self.activation, dtype=policy),
            ]
        if self.dropout:
            blocks.append(keras.layers.Dropout(self.dropout, dtype=policy))
        return blocks

    def _dense(self, width: int, activation: Any) -> keras.layers.Dense:
        return keras.layers.Dense(
            width,
            activation,
            use_bias=self.use_bias,
            kernel_initializer=clone_initializer(self.kernel_initializer),
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Shape) -> None:
        for block in self.blocks:
            block.build(input_shape)
            input_shape = block.compute_output_shape(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = inputs
        for block in self.blocks:
            x = block(x)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "final_activation": keras.activations.serialize(
                self.final_activation
            ),
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "normalization": self.normalization,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
        }
