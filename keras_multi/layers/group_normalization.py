"""Group normalization, in one operation where the framework has one."""

from typing import Any

import keras

from keras_multi import backend


@keras.saving.register_keras_serializable("keras_multi")
class GroupNormalization(keras.layers.GroupNormalization):
    """`keras.layers.GroupNormalization`, in one operation on PyTorch.

    Wu and He 2018, "Group Normalization", section 3. Keras computes the
    moments, the scale and the shift one after the other: XLA makes one program
    of them, but PyTorch goes through memory for each, and again for each
    gradient.

    Arguments, inputs, weights and outputs are those of
    `keras.layers.GroupNormalization`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import GroupNormalization
        >>> layer = GroupNormalization(groups=2)
        >>> layer(np.array([[[1.0, 3.0, 5.0, 9.0]]])).shape
        (1, 1, 4)
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        last = self.axis in (-1, len(input_shape) - 1)
        self._normalize = (
            backend.framework().group_normalize
            if last and self.center and self.scale
            else None
        )

    def call(self, inputs: Any) -> Any:
        if self._normalize is None:
            return super().call(inputs)
        outputs = self._normalize(
            inputs, self.groups, self.gamma, self.beta, self.epsilon
        )
        return keras.ops.cast(outputs, self.compute_dtype)
