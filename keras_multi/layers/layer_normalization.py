"""Layer normalization that XLA makes a fast program of."""

from typing import Any

import keras
from keras import ops

from keras_multi import backend


def layer_normalization(
    x: Any, gamma: Any, beta: Any, epsilon: float = 1e-5
) -> Any:
    """Normalizes the last axis, then scales and shifts.

    Ba et al. 2016, "Layer Normalization", equation 4. Keras multiplies the
    scale into the inverse deviation, so that XLA writes tensors as large as
    the inputs three times, and computes gradients of all later blocks anew in
    each block; it computes nothing twice that was divided.

    Args:
        x: float tensor `(batch, ..., dim)`.
        gamma: scale `(dim,)`.
        beta: shift `(dim,)`.
        epsilon: added to the variance.

    Returns:
        Shape and dtype of `x`; computed in float32 at least.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import layer_normalization
        >>> layer_normalization(np.eye(2), np.ones(2), np.zeros(2)).shape
        (2, 2)
    """
    if backend.framework().has_layer_normalization:
        return ops.layer_normalization(x, gamma, beta, epsilon=epsilon)
    x = ops.convert_to_tensor(x)
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    centered = wide - ops.mean(wide, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
    normalized = centered / ops.sqrt(variance + epsilon)
    gamma, beta = ops.cast(gamma, wide.dtype), ops.cast(beta, wide.dtype)
    return ops.cast(normalized * gamma + beta, x.dtype)


@keras.saving.register_keras_serializable("keras_multi")
class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` by `layer_normalization`.

    Arguments, inputs, weights and outputs are those of
    `keras.layers.LayerNormalization`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import LayerNormalization
        >>> LayerNormalization()(np.array([[1.0, 3.0]])).shape
        (1, 2)
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        last = self.axis in ([-1], [len(input_shape) - 1])
        plain = self.center and self.scale and not self.rms_scaling
        self._ours = last and plain

    def call(self, inputs: Any) -> Any:
        if not self._ours:
            return super().call(inputs)
        outputs = layer_normalization(
            inputs, self.gamma, self.beta, self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)
