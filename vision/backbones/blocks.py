"""Convolution and batch normalization, which every backbone repeats."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_multi.layers import Conv2D


@dataclass(frozen=True)
class ConvNorm:
    """Adds a convolution, its normalization and its activation to a graph.

    What a whole network has in common is set once; a call adds one
    convolution.

    Attributes:
        epsilon: added to the variance by the normalization.
        momentum: share of the running mean and variance that a step keeps.
        activation: function after the normalization.
        dtype: policy of the layers.
    """

    epsilon: float
    momentum: float
    activation: str
    dtype: Any = None

    def __call__(
        self,
        x: Any,
        filters: int | None,
        kernel_size: int,
        strides: int = 1,
        *,
        activate: bool = True,
        name: str,
    ) -> Any:
        """Adds one convolution.

        Args:
            x: symbolic feature map `(B, H, W, C)`.
            filters: number of output channels; `None` filters each channel
                on its own (depthwise).
            kernel_size: side of the kernel.
            strides: step of the kernel.
            activate: whether the activation follows.
            name: begins the names of the layers.

        Returns:
            Symbolic feature map `(B, ceil(H / strides), ceil(W / strides),
            filters or C)`.
        """
        common = {
            "padding": "same",
            "use_bias": False,
            "dtype": self.dtype,
            "name": f"{name}_conv",
        }
        if filters is None:
            conv = keras.layers.DepthwiseConv2D(
                kernel_size,
                strides,
                depthwise_initializer="he_normal",
                **common,
            )
        else:
            conv = Conv2D(
                filters,
                kernel_size,
                strides,
                kernel_initializer="he_normal",
                **common,
            )
        x = keras.layers.BatchNormalization(
            momentum=self.momentum,
            epsilon=self.epsilon,
            dtype=self.dtype,
            name=f"{name}_norm",
        )(conv(x))
        if not activate:
            return x
        return keras.layers.Activation(
            self.activation, dtype=self.dtype, name=f"{name}_activation"
        )(x)
