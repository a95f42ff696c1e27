"""Product with a matrix that is laid out for the backend."""

from typing import Any

import keras

from keras_multi import backend


@keras.saving.register_keras_serializable("keras_multi")
class Dense(keras.layers.Dense):
    """`keras.layers.Dense` that is fast on a CPU on PyTorch, too.

    Weights, configuration and results are those of `keras.layers.Dense`.
    Outside of training PyTorch keeps a copy of the matrix in the layout of
    oneDNN, and adds the bias in the same pass. The copy is made anew after
    the matrix has changed.

    Arguments, inputs and outputs are those of `keras.layers.Dense`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import Dense
        >>> Dense(4)(np.ones((1, 3, 2))).shape
        (1, 3, 4)
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self._packed = backend.framework().packed_kernel()

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if self._packed is not None:
            bias = self.bias
            outputs = self._packed.multiply(
                inputs,
                self.kernel,
                None if bias is None else keras.ops.convert_to_tensor(bias),
            )
            if outputs is not None:
                return (
                    outputs
                    if self.activation is None
                    else self.activation(outputs)
                )
        return super().call(inputs, training=training)
