"""Convolution that chooses its algorithm by backend, device and shape."""

from math import prod
from typing import Any

import keras
from keras import ops

from keras_multi import backend


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
      is slow there, and Keras on PyTorch lays the kernel out anew at each
      call, which costs the same however few the places are;
    - outside of training, PyTorch keeps a copy of the kernel in the layout of
      oneDNN. It is made anew after the kernel has changed.

    Elsewhere (accelerators, large pictures, groups, dilation, channels first,
    shapes that are not static) it is Keras's convolution: patches take as
    many times the memory of the inputs as the kernel has places. How many
    places are few is `MAX_PATCHES` of the backend, with the measurements that
    it rests on.

    Arguments, inputs and outputs are those of `keras.layers.Conv2D`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import Conv2D
        >>> Conv2D(4, 3, padding="same")(np.ones((1, 8, 8, 2))).shape
        (1, 8, 8, 4)
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        framework = backend.framework()
        self._max_patches = framework.MAX_PATCHES
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
        padding = [self._padding(axis, shape[1 + axis]) for axis in (0, 1)]
        if self._packed is not None:
            outputs = self._packed.convolve(
                inputs, kernel, padding, self.strides
            )
            if outputs is not None:
                return outputs
        size = [self._size(axis, shape[1 + axis]) for axis in (0, 1)]
        # In JAX an unknown batch size is a symbol, which cannot be compared.
        batch = shape[0] if isinstance(shape[0], int) else 1
        if batch * prod(size) > self._max_patches:
            return super().convolution_op(inputs, kernel)
        return self._multiply_patches(inputs, kernel, padding, size)

    def _size(self, axis: int, length: int) -> int:
        """Length of the outputs along the height or the width."""
        if self.padding == "valid":
            length -= self.kernel_size[axis] - 1
        return -(-length // self.strides[axis])

    def _padding(self, axis: int, length: int) -> tuple[int, int]:
        """Zeros before and after the inputs, along the height or the width."""
        if self.padding == "valid":
            return 0, 0
        size, stride = self.kernel_size[axis], self.strides[axis]
        steps = self._size(axis, length) - 1
        total = max(steps * stride + size - length, 0)
        return total // 2, total - total // 2

    def _multiply_patches(
        self, inputs: Any, kernel: Any, padding: Any, size: Any
    ) -> Any:
        """Gathers what each place of the outputs sees, and multiplies it."""
        channels = inputs.shape[-1]
        if any(map(any, padding)):
            inputs = ops.pad(inputs, ((0, 0), *padding, (0, 0)))
        rows, columns = (
            [
                slice(first, first + (count - 1) * stride + 1, stride)
                for first in range(taps)
            ]
            for taps, count, stride in zip(
                self.kernel_size, size, self.strides, strict=True
            )
        )
        patches = ops.concatenate(
            [inputs[:, row, column] for row in rows for column in columns], -1
        )  # (B, H, W, taps * C)
        depth = prod(self.kernel_size) * channels
        # As one matrix: PyTorch multiplies the pictures one by one otherwise.
        outputs = ops.matmul(
            ops.reshape(patches, (-1, depth)),
            ops.reshape(kernel, (depth, self.filters)),
        )
        return ops.reshape(outputs, (-1, *size, self.filters))
