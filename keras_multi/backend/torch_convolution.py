"""Convolutions and products on PyTorch with a kernel laid out once."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from keras.src.backend.common.stateless_scope import in_stateless_scope

DTYPES = [torch.float32]
if torch.ops.mkldnn._is_mkldnn_bf16_supported():
    DTYPES.append(torch.bfloat16)

# What oneDNN calls activations, their parameters, and the algorithm.
ACTIVATIONS: dict[str | None, tuple[str, list[float], str]] = {
    None: ("none", [], ""),
    "relu": ("relu", [], ""),
    "relu6": ("hardtanh", [0.0, 6.0], ""),
}


class PackedKernel:
    """A copy of the kernel of a layer, in the layout of oneDNN.

    PyTorch lays the kernel of a convolution out anew at each call otherwise,
    and Keras on PyTorch turns its axes before. In milliseconds on one core,
    with the copy and without: 9 and 392 at 2x2 places (1280 to 1280 channels),
    14 and 70 at 8x8 (640 to 640), 138 and 178 at 32x32 (640 to 320).

    Matrices PyTorch gives to MKL otherwise, which is slow on a processor of
    AMD: 1.6 and 3.7 for 256 rows (320 to 2560), 2.5 and 7.3 for 16 (1280 to
    10240); in bfloat16 0.80 and 0.82, 1.2 and 2.8.
    """

    def __init__(self) -> None:
        self._source: Any = None  # the kernel of which the copy is
        self._state: Any = None  # its version, and the type of the copy
        self._copy: Any = None

    def __reduce__(self) -> Any:
        return PackedKernel, ()

    def convolve(
        self,
        x: Any,
        kernel: Any,
        padding: Sequence[tuple[int, int]],
        strides: Sequence[int],
        dilation: Sequence[int] = (1, 1),
        bias: Any = None,
        activation: str | None = None,
    ) -> Any:
        """Convolves outside of training; gives `None` where it cannot.

        Args:
            x: `(B, H, W, C)`.
            kernel: Keras variable `(height, width, C / groups, filters)`.
            padding: zeros before and after the rows and the columns.
            strides: of the rows and the columns.
            dilation: distance of the taps, along both.
            bias: tensor `(filters,)` to add, or `None`.
            activation: `"relu"` or `"relu6"`, at once, or `None`.
        """
        if not _can_pack(x, kernel):
            return None
        (top, bottom), (left, right) = padding
        x = x.permute(0, 3, 1, 2)
        if top != bottom or left != right:
            x = torch.nn.functional.pad(x, (left, right, top, bottom))
            top = left = 0
        options = [top, left], list(strides), list(dilation)
        groups = x.shape[1] // kernel.shape[2]
        copy = self._renewed(
            kernel,
            x.dtype,
            lambda value: torch.ops.mkldnn._reorder_convolution_weight(
                value.permute(3, 2, 0, 1).contiguous(
                    memory_format=torch.channels_last
                ),
                *options,
                groups,
                list(x.shape),
            ),
        )
        outputs = torch.ops.mkldnn._convolution_pointwise(
            x, copy, bias, *options, groups, *ACTIVATIONS[activation]
        )
        return outputs.permute(0, 2, 3, 1)

    def multiply(self, x: Any, kernel: Any, bias: Any = None) -> Any:
        """Multiplies outside of training; gives `None` where it cannot.

        Args:
            x: `(..., in)`.
            kernel: Keras variable `(in, out)`.
            bias: tensor `(out,)` to add, or `None`.
        """
        if not _can_pack(x, kernel):
            return None
        rows = x.numel() // x.shape[-1]
        copy = self._renewed(
            kernel,
            x.dtype,
            lambda value: torch.ops.mkldnn._reorder_linear_weight(
                value.T.contiguous(), rows
            ),
        )
        return torch.ops.mkldnn._linear_pointwise(x, copy, bias, "none", [], "")

    def _renewed(
        self, kernel: Any, dtype: Any, pack: Callable[[Any], Any]
    ) -> Any:
        """The copy, made anew if the kernel has changed."""
        value = kernel._value  # As it is stored: the copy has its own type.
        state = value._version, dtype
        if self._source is not value or self._state != state:
            self._copy = pack(value.detach().to(dtype))
            self._source, self._state = value, state
        return self._copy


def _can_pack(x: Any, kernel: Any) -> bool:
    return not (
        torch.compiler.is_compiling()
        or torch.is_grad_enabled()
        or not isinstance(kernel, keras.Variable)
        or x.device.type != "cpu"
        or x.dtype not in DTYPES
        or in_stateless_scope()
        or kernel._value.is_inference()
    )
