"""Matrix products on PyTorch with a matrix that is laid out once."""

from typing import Any

import torch

from keras_multi.backend.torch_convolution import DTYPES

# Rows of the product for which oneDNN lays a matrix out.
ROWS = 8
# With another width than a multiple of this, the kernel for int8 reads beyond
# the matrices.
INT8_WIDTH = 16


def packed(weight: Any) -> Any:
    """Copies a matrix `(out, in)` in the layout of oneDNN, where it has one.

    In milliseconds for all matrices of GPT-2 with 124 million parameters, on
    two cores, with the copy and without: 15 and 27 for one row in float32, 7
    and 10 in bfloat16; 11 and 51 for eight rows in float32, 7 and 14 in
    bfloat16.
    """
    if (
        not hasattr(torch.ops.mkldnn, "_linear_pointwise")
        or weight.device.type != "cpu"
        or weight.dtype not in DTYPES
    ):
        return weight
    return torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Gives `x @ weight.T + bias`.

    Args:
        x: `(batch, tokens, in)`.
        weight: `(out, in)`, perhaps `packed`.
        bias: `(out,)`, or none.
    """
    if not weight.is_mkldnn:
        return torch.nn.functional.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def int8_linear(x: Any, values: Any, scales: Any, bias: Any = None) -> Any:
    """Gives `x @ (values * scales).T + bias`.

    On a CPU PyTorch's kernel is slow with numbers in float32 (46 milliseconds
    for the matrices of GPT-2 and one row, 6 in bfloat16), so that it gets and
    gives bfloat16.

    Args:
        x: `(batch, tokens, in)`.
        values: int8 `(out, in)`.
        scales: `(out,)`, of the rows.
        bias: `(out,)`, or none.
    """
    width = x.shape[-1]
    if x.device.type != "cpu" or width % INT8_WIDTH:
        product = torch.nn.functional.linear(x, values.to(x.dtype))
    else:
        flat = x.reshape(-1, width).bfloat16()
        ones = torch.ones(len(values), dtype=flat.dtype)
        product = torch._weight_int8pack_mm(flat, values, ones).to(x.dtype)
        product = product.reshape(*x.shape[:-1], -1)
    product = product * scales
    return product if bias is None else product + bias
