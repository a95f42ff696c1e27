"""Matrix products on PyTorch with a matrix that is laid out once."""

import itertools
import weakref
from typing import Any, NamedTuple

import torch

from keras_multi.backend.torch_convolution import DTYPES

ONE_LAYOUT = True  # for any number of rows
# Rows of the product for which oneDNN lays a matrix out.
ROWS = 8
# With another width than a multiple of this, the kernel for int8 reads beyond
# the matrices.
INT8_WIDTH = 16


class Hidden(NamedTuple):
    """A matrix in the layout of oneDNN, where a compiler cannot see it.

    `torch.compile` takes no tensor with such a layout, so that its place in a
    table stands for it.
    """

    place: Any  # int64 scalar
    rows: int


_hidden: dict[int, Any] = {}
_places = itertools.count()
_library = torch.library.Library("keras_multi", "FRAGMENT")
_library.define(
    "hidden_linear(Tensor x, Tensor place, int rows, Tensor? bias) -> Tensor"
)


@torch.library.impl(_library, "hidden_linear", "CPU")
def _hidden_linear(x: Any, place: Any, rows: int, bias: Any) -> Any:
    return linear(x, _hidden[place.item()], bias)


@torch.library.register_fake("keras_multi::hidden_linear", lib=_library)
def _shape_of_hidden_linear(x: Any, place: Any, rows: int, bias: Any) -> Any:
    return x.new_empty((*x.shape[:-1], rows))


def packed(weight: Any, alone: bool, compiled: bool) -> Any:
    """Copies a matrix `(out, in)` in the layout of oneDNN, where it has one.

    In milliseconds for all matrices of GPT-2 with 124 million parameters, on
    two cores, with the copy and without: 15 and 27 for one row in float32, 7
    and 10 in bfloat16; 11 and 51 for eight rows in float32, 7 and 14 in
    bfloat16.

    Args:
        weight: `(out, in)`.
        alone: of no importance here.
        compiled: whether `torch.compile` is to take the copy.
    """
    if (
        not hasattr(torch.ops.mkldnn, "_linear_pointwise")
        or weight.device.type != "cpu"
        or weight.dtype not in DTYPES
    ):
        return weight
    copy = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
    if not compiled:
        return copy
    index = next(_places)
    _hidden[index] = copy
    place = torch.tensor(index)
    weakref.finalize(place, _hidden.pop, index)
    return Hidden(place, len(weight))


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Gives `x @ weight.T + bias`.

    Args:
        x: `(batch, tokens, in)`.
        weight: `(out, in)`, perhaps `packed`.
        bias: `(out,)`, or none.
    """
    if isinstance(weight, Hidden):
        return torch.ops.keras_multi.hidden_linear(x, *weight, bias)
    if not weight.is_mkldnn:
        return torch.nn.functional.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def rows_of(table: Any, ids: Any) -> Any:
    """Looks rows of a table `(rows, width)` up: `ids` is `(batch, tokens)`."""
    return torch.nn.functional.embedding(ids, table)


def packed_int8(values: Any, alone: bool) -> Any:
    """Gives the integers: `int8_linear` takes them as they are."""
    return values


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
