"""Convolution that chooses its algorithm by backend, device and shape."""

from math import prod
from typing import Any

import keras
from keras import ops

from keras_multi import backend
from keras_multi.layers.patches import multiply_patches, paddings, sizes


@keras.saving.register_keras_serializable("keras_multi")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` that is fast on a CPU, too.

    Weights, configuration and results are those of `keras.layers.Conv2D`;
    only the way to them differs, on a CPU and with channels last:

    - a kernel of size 1 is a matrix product;
    - over few places (those of the outputs, of all pictures of the batch) the
      patches of the inputs are gathered and multiplied by the kernel as a
      matrix (Chellapilla et al. 2006, "High Performance Convolutional Neural
      Networks for Document Processing", section 3.1). XLA's own convolution
      is slow there, and slowest where the outputs are smaller than the kernel,
      so these count as few however large the batch is. Keras on PyTorch lays
      the kernel out anew at each call, which costs the same for few places;
    - outside of training, PyTorch keeps a copy of the kernel in the layout of
      oneDNN. It is made anew after the kernel has changed.

    Elsewhere (accelerators, large pictures, groups, dilation, channels first,
    shapes that are not static) it is Keras's convolution: patches take as
    many times the memory of the inputs as the kernel has places. How many
    places are few is `MAX_PATCHES` of the backend, by the type that is
    computed in, with the measurements that it rests on.

    Arguments, inputs and outputs are those of `keras.layers.Conv2D`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import Conv2D
        >>> Conv2D(4, 3, padding="same")(np.ones((1, 8, 8, 2))).shape
        (1, 8, 8, 4)
    """

    # What it computes, for backends that have a kernel of their own for that.
    computes_as = keras.layers.Conv2D

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        framework = backend.framework()
        most = framework.MAX_PATCHES
        self._max_patches = most.get(self.compute_dtype, most["float32"])
        self._packed = framework.packed_kernel()
        self._chooses = (
            framework.device()[0] == "cpu"
            and self.data_format == "channels_last"
            and self.groups == 1
            and max(self.dilation_rate) == 1
        )

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolves, without bias and activation."""
        shape = tuple(inputs.shape)
        if not self._chooses or None in shape[1:]:
            return super().convolution_op(inputs, kernel)
        if self.kernel_size == (1, 1):
            rows, columns = self.strides
            matrix = ops.convert_to_tensor(kernel)[0, 0]
            return ops.matmul(inputs[:, ::rows, ::columns], matrix)
        padding = paddings(
            shape[1:3], self.kernel_size, self.strides, self.padding
        )
        if self._packed is not None:
            outputs = self._packed.convolve(
                inputs, kernel, padding, self.strides
            )
            if outputs is not None:
                return outputs
        size = sizes(shape[1:3], self.kernel_size, self.strides, self.padding)
        # In JAX an unknown batch size is a symbol, which cannot be compared.
        batch = shape[0] if isinstance(shape[0], int) else 1
        few = batch * prod(size) <= self._max_patches
        # At 2x2 places of 32 pictures (512 to 512 channels, on two cores) XLA
        # took 236 ms on JAX, and 481 with gradients; patches 4.5 and 13.
        tiny = any(n < k for n, k in zip(size, self.kernel_size, strict=True))
        if not few and not tiny:
            return super().convolution_op(inputs, kernel)
        return multiply_patches(inputs, kernel, self.strides, self.padding)
