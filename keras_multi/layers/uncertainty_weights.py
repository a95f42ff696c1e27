"""Learned weights of the losses of several tasks."""

from typing import Any

import keras
from keras import ops

from keras_multi.layers.feature_cross import Shape


@keras.saving.register_keras_serializable("keras_multi")
class UncertaintyWeights(keras.layers.Layer):
    """`sum_i exp(-s_i) L_i + s_i / 2`, with one learned s for each task.

    s is the log of the task's variance (Kendall et al. 2018, "Multi-task
    learning using uncertainty to weigh losses", equation 10). A loss is to be
    given as in that equation: half the squared error for a regression, the
    cross entropy for a classification.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor `(..., tasks)` of losses.

    Returns:
        Float tensor `(...)`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import UncertaintyWeights
        >>> float(UncertaintyWeights()(np.array([1.0, 2.0])))
        3.0
    """

    def build(self, input_shape: Shape) -> None:
        self.log_variances = self.add_weight(
            shape=(input_shape[-1],), initializer="zeros", name="log_variances"
        )

    def call(self, inputs: Any) -> Any:
        s = ops.cast(self.log_variances, self.compute_dtype)
        return ops.sum(ops.exp(-s) * inputs + s / 2, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape[:-1])
