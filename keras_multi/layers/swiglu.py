"""Perceptron with a gate."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers.feature_cross import Shape, clone_initializer


@keras.saving.register_keras_serializable("keras_multi")
class SwiGLU(keras.layers.Layer):
    """Two linear maps, one the gate of the other, and one back.

    `(silu(x W_gate) * (x W_up)) W_down`, without biases: Shazeer 2020, "GLU
    Variants Improve Transformer", equation 6. It is the perceptron in the
    blocks of Llama.

    Args:
        hidden_dim: width inside.
        kernel_initializer: initializer of the matrices.
        output_initializer: initializer of the last matrix;
            `kernel_initializer` if `None`.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor `(batch, ..., dim)`; dim static.

    Returns:
        Float tensor of the shape of the inputs.

    Raises:
        ValueError: if `hidden_dim` is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import SwiGLU
        >>> SwiGLU(16)(np.ones((1, 3, 8), "float32")).shape
        (1, 3, 8)
    """

    def __init__(
        self,
        hidden_dim: int,
        kernel_initializer: Any = "glorot_uniform",
        output_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if hidden_dim < 1:
            raise ValueError(
                "`hidden_dim` must be a positive integer. "
                f"Received: hidden_dim={hidden_dim}"
            )
        self.hidden_dim = hidden_dim
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer)

    def build(self, input_shape: Shape) -> None:
        dim = input_shape[-1]
        if dim is None:
            raise ValueError(
                "the width of the inputs must be static. "
                f"Received: input_shape={input_shape}"
            )
        inner = (*input_shape[:-1], self.hidden_dim)
        self.gate = self._dense(self.hidden_dim, self.kernel_initializer)
        self.gate.build(input_shape)
        self.up = self._dense(self.hidden_dim, self.kernel_initializer)
        self.up.build(input_shape)
        self.down = self._dense(
            dim, self.output_initializer or self.kernel_initializer
        )
        self.down.build(inner)

    def _dense(self, width: int, initializer: Any) -> keras.layers.Dense:
        return keras.layers.Dense(
            width,
            use_bias=False,
            kernel_initializer=clone_initializer(initializer),
            dtype=self.dtype_policy,
        )

    def call(self, inputs: Any) -> Any:
        return self.down(ops.silu(self.gate(inputs)) * self.up(inputs))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "output_initializer": keras.initializers.serialize(
                self.output_initializer
            ),
        }
