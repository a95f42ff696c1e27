"""Counts of the operations of a function on PyTorch."""

import contextlib
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

ATTENTION = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)
RNN = ("_cudnn_rnn", "miopen_rnn", "mkldnn_rnn_layer")


def operations(fn: Callable[[], Any]) -> float | None:
    """Runs the function under PyTorch's own counter, with its gaps filled."""
    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    counter.mod_tracker = _NoModules()  # type: ignore[assignment]
    try:
        with counter:
            fn()
    except _UnknownError:
        return None
    return float(counter.get_total_flops())


class _UnknownError(Exception):
    """A kernel whose operations cannot be counted."""


class _NoModules(contextlib.nullcontext):
    """Counts for no single module.

    PyTorch's tracker of modules puts hooks on their inputs, with which
    `torch.autograd.grad` by an input fails.
    """

    parents = ("Global",)

    def __exit__(self, *_: Any) -> None:
        """Does nothing; PyTorch calls it without arguments."""


def _formulas() -> dict[Any, Callable[..., int]]:
    """Formulas for operators that PyTorch counts otherwise or not at all.

    It counts each group of a convolution's gradient as if it had all
    channels, adds the scores that an attention kernel computes anew on the
    way back, and leaves out products of vectors and kernels of a whole RNN.
    """
    formulas: dict[str, Callable[..., int]] = {
        "convolution_backward": _convolution_backward,
        "dot": _product_with_vector,
        "vdot": _product_with_vector,
        "mv": _product_with_vector,
        "addmv": _sum_with_product,
        **dict.fromkeys(ATTENTION, _attention),
        **dict.fromkeys(
            (f"{name}_backward" for name in ATTENTION), _attention_backward
        ),
        **dict.fromkeys(RNN, _unknown),
    }
    aten, mkldnn = torch.ops.aten, torch.ops.mkldnn
    known = {
        getattr(aten, name): formula
        for name, formula in formulas.items()
        if hasattr(aten, name)
    }
    if hasattr(mkldnn, "_convolution_pointwise"):
        known[mkldnn._convolution_pointwise] = _convolution
        known[mkldnn._linear_pointwise] = _linear
    return known


def _convolution(
    x: Any, kernel: Any, *_: Any, out_shape: Any, **__: Any
) -> int:
    return 2 * out_shape[0] * prod(out_shape[2:]) * prod(kernel)


def _linear(x: Any, matrix: Any, *_: Any, **__: Any) -> int:
    return 2 * prod(x) * matrix[0]


def _convolution_backward(
    grad: Any, inputs: Any, kernel: Any, *rest: Any, **_: Any
) -> int:
    transposed, output_mask = rest[4], rest[7]
    positions = prod((inputs if transposed else grad)[2:])
    forward = 2 * grad[0] * positions * prod(kernel)
    return forward * (output_mask[0] + output_mask[1])


def _product_with_vector(a: Any, b: Any, **_: Any) -> int:
    return 2 * prod(a)


def _sum_with_product(c: Any, a: Any, b: Any, **_: Any) -> int:
    return 2 * prod(a)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(
    grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any
) -> int:
    return 2 * sdpa_flop_count(query, key, value)


def _unknown(*_: Any, **__: Any) -> int:
    raise _UnknownError
