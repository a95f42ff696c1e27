"""Embedding that is trained alike on every backend."""

from typing import Any

import keras
from keras import ops

from keras_multi import backend


@keras.saving.register_keras_serializable("keras_multi")
class Embedding(keras.layers.Embedding):
    """`keras.layers.Embedding` with gradients that are the same everywhere.

    On TensorFlow the gradient of Keras's own embedding lists the rows of the
    batch, a row that occurs twice listed twice. Keras's Adam (and each other
    optimizer that squares the gradient) then adds the squares of the parts
    where JAX and PyTorch square their sum, so that the same training gives
    other weights on TensorFlow. Here the gradient is dense on all backends.

    Arguments, inputs and outputs are those of `keras.layers.Embedding`.

    Call arguments:
        inputs: integer tensor of any shape, in `[0, input_dim)`.

    Returns:
        Float tensor of shape `(*inputs.shape, output_dim)`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import Embedding
        >>> Embedding(10, 4)(np.array([[1, 2, 2]])).shape
        (1, 3, 4)
    """

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self._with_dense_gradient = backend.framework().with_dense_gradient

    def call(self, inputs: Any) -> Any:
        table = self._with_dense_gradient(self.embeddings)
        outputs = ops.take(table, ops.cast(inputs, "int32"), axis=0)
        return ops.cast(outputs, self.compute_dtype)

    def table(self) -> Any:
        """Gives all vectors `(input_dim, output_dim)`, also of integers."""
        if self.quantization_mode != "int8":
            return self.embeddings
        vectors = ops.cast(self.embeddings, self.compute_dtype)
        return vectors / ops.cast(self.embeddings_scale, vectors.dtype)[:, None]

    def quantize(self, mode: Any = None, **kwargs: Any) -> None:
        # Keras refuses subclasses, whose calls may differ; this one does not
        # once nothing trains.
        super().quantize(mode, **{**kwargs, "type_check": False})
