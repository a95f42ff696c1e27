"""PyTorch: what the facade offers, in PyTorch's own terms."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch

from keras_multi.backend.torch_convolution import PackedKernel
from keras_multi.backend.torch_image import blend as blend
from keras_multi.backend.torch_image import clip as clip
from keras_multi.backend.torch_image import floor_to_bytes as floor_to_bytes
from keras_multi.backend.torch_image import histogram as histogram
from keras_multi.backend.torch_image import literal as literal
from keras_multi.backend.torch_image import pack as pack
from keras_multi.backend.torch_image import paste as paste
from keras_multi.backend.torch_image import unpack as unpack
from keras_multi.backend.torch_linear import ONE_LAYOUT as ONE_LAYOUT
from keras_multi.backend.torch_linear import int8_linear as int8_linear
from keras_multi.backend.torch_linear import linear as linear
from keras_multi.backend.torch_linear import packed as packed
from keras_multi.backend.torch_linear import packed_int8 as packed_int8
from keras_multi.backend.torch_linear import rows_of as rows_of
from keras_multi.backend.torch_operations import operations as operations
from keras_multi.backend.torch_optimizers import adagrad as adagrad
from keras_multi.backend.torch_optimizers import adam as adam
from keras_multi.backend.torch_optimizers import fuses as fuses
from keras_multi.backend.torch_optimizers import sgd as sgd
from keras_multi.backend.torch_replay import Replay
from keras_multi.backend.torch_training import feed as feed
from keras_multi.backend.torch_training import record_steps as record_steps

MODES = ("eager", "compile")
COMPILED = "compile"
FLASH_ATTENTION = False  # not by Keras, whose test cannot be traced
GRADIENTS_REPLACE = False  # see `rows_that_train`
alone = None  # a layer is computed when it is called
# Most places for which `layers.Conv2D` multiplies patches, see there. In
# milliseconds on one core, patches against Keras's convolution, forwards and
# backwards: 225 and 586 at 4 places (1280 to 1280 channels), 84 and 182 at 64
# (640 to 640), 44 and 91 at 256 (320 to 320), 513 and 801 at 1024 (640 to
# 320), and forwards alone 162 and 150 at 2048 (320 to 320).
MAX_PATCHES = {"float32": 1024}


def device() -> tuple[str, str, int]:
    """Kind, name and memory in bytes of the default device."""
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return "gpu", properties.name, properties.total_memory
    if torch.backends.mps.is_available():
        return "gpu", "Apple MPS", torch.mps.recommended_max_memory()
    return "cpu", "", 0


def synchronize(x: Any) -> None:
    """Waits for the accelerator; CPU operations return when they are done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def jit(fn: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """Compiles with `torch.compile`, or leaves the function as it is."""
    if mode == "eager":
        return fn
    compiled: Callable[..., Any] = torch.compile(fn)
    return compiled


def inference(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Leaves the function eager, without the records of autograd."""
    wrapped: Callable[..., Any] = torch.inference_mode()(fn)
    return wrapped


def loop(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Leaves a function that loops inside eager, without autograd."""
    wrapped: Callable[..., Any] = torch.inference_mode()(fn)
    return wrapped


token_loop = loop  # one token of each text in a turn


def bind(
    model: Any, fn: Callable[..., Any], mode: str | None, static: bool
) -> Callable[..., Any]:
    """Compiles the function, repeats what it does, or leaves it eager."""
    if mode == "compile":
        return loop(jit(fn, mode))
    return loop(Replay(model, fn) if static else fn)


def bind_loop(model: Any, step: Callable[..., Any]) -> Callable[..., Any]:
    """Takes the steps one by one, each as the first was."""
    replay = Replay(model, step)

    def steps(state: Any, end: Any, *args: Any) -> Any:
        return replay.loop(state, int(end) - int(state[0]), *args)

    return loop(steps)


def constant(x: Any) -> Any:
    """Copies a tensor, in the order of its axes, without gradient."""
    return x.detach().clone(memory_format=torch.contiguous_format)


def attend(queries: Any, keys: Any, values: Any, mask: Any) -> Any:
    """Computes an attention in one kernel.

    Args:
        queries: `(batch, heads, tokens, head_dim)`.
        keys: `(batch, groups, slots, head_dim)`.
        values: `(batch, groups, slots, head_dim)`.
        mask: bool `(batch, 1, tokens, slots)`; each token sees a slot.
    """
    return torch.nn.functional.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )


def compiled_step(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles the inside of a loop, once for each shape."""
    compiled: Callable[..., Any] = torch.compile(fn, dynamic=False)
    return compiled


def to_attend(x: Any) -> Any:
    """Widens bfloat16 for an attention that is differentiated on a CPU.

    PyTorch's gradient is slow in bfloat16 there: 34 milliseconds on one core
    in place of 5, forwards and backwards, for 72 pictures of 16 places with 4
    heads of 26 channels.
    """
    slow = x.device.type == "cpu" and x.dtype == torch.bfloat16
    return x.float() if slow and torch.is_grad_enabled() else x


has_layer_normalization = True  # in one operation, which Keras calls


def group_normalize(
    x: Any, groups: int, gamma: Any, beta: Any, epsilon: float
) -> Any:
    """Normalizes groups of channels.

    Args:
        x: `(batch, ..., channels)`.
        groups: number of groups.
        gamma: scale `(channels,)`.
        beta: shift `(channels,)`.
        epsilon: added to the variance.

    Returns:
        The same shape; float32 where `x` is narrower and not on a CPU, whose
        kernel alone takes scale and shift in another type.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    if x.device.type != "cpu":
        x = x.to(dtype)
    x = x.movedim(-1, 1)
    if torch.is_grad_enabled() and not x.requires_grad:
        # PyTorch 2.13 crashes where only gamma and beta have gradients and
        # the channels come last.
        x = x.contiguous()
    gamma, beta = gamma.value.to(dtype), beta.value.to(dtype)
    normalized = torch.nn.functional.group_norm(x, groups, gamma, beta, epsilon)
    return normalized.movedim(1, -1)


def packed_kernel() -> PackedKernel | None:
    """Gives an empty copy of a kernel, if this PyTorch has oneDNN."""
    if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return PackedKernel()
    return None


def write(buffer: Any, update: Any, start: Sequence[Any]) -> Any:
    """Replaces a part of the buffer in place, and gives the buffer."""
    if torch.compiler.is_compiling():
        # One axis has a start that is known at run time only.
        (axis,) = (i for i, s in enumerate(start) if not isinstance(s, int))
        places = start[axis] + torch.arange(
            update.shape[axis], device=buffer.device
        )
        return buffer.index_copy_(axis, places, update)
    part = tuple(
        slice(int(first), int(first) + size)
        for first, size in zip(start, update.shape, strict=True)
    )
    buffer[part] = update
    return buffer


def stable_top_k(x: Any, k: int) -> tuple[Any, Any]:
    """Top k of the last axis of float32, the lower index first.

    `torch.topk` orders equal values at will, so it is given unique integers:
    the bits of the value, made to rise with it, above the falling index.
    """
    bits = x.contiguous().view(torch.int32)
    rising = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    last = 2**32 - 1
    index = torch.arange(x.shape[-1], device=x.device)
    keys = rising * 2**32 + (last - index)
    best = torch.topk(keys, k, dim=-1).values
    positions = last - (best & last)
    return torch.gather(x, -1, positions), positions.int()


def maxima_of_products(queries: Any, chunks: Sequence[Any]) -> Any:
    """Elementwise maximum of the products with some matrices of one shape.

    One buffer holds the product of one chunk after the other, so that it
    stays in the cache. From 16 queries on, MKL is faster with the long side
    first.
    """
    if len(queries) == 1:
        products = (_product_with_one(queries, chunk) for chunk in chunks)
        return functools.reduce(torch.maximum, products)
    tall = len(queries) >= 16

    def product(chunk: Any, out: Any = None) -> Any:
        if tall:
            return torch.mm(chunk.float(), queries.T, out=out)
        return torch.mm(queries, chunk.float().T, out=out)

    best = product(chunks[0])
    buffer = torch.empty_like(best)
    for chunk in chunks[1:]:
        torch.maximum(best, product(chunk, buffer), out=best)
    return best.T.contiguous() if tall else best


def _product_with_one(query: Any, chunk: Any) -> Any:
    """MKL multiplies by one vector on one core; as a batch, on all."""
    parts = torch.get_num_threads()
    if len(chunk) % parts:
        parts = 1
    matrices = chunk.float().reshape(parts, -1, chunk.shape[1])
    return torch.bmm(matrices, query.T.expand(parts, -1, 1)).reshape(1, -1)


def value_and_gradients(
    fn: Callable[[], Any], variables: list[Any]
) -> tuple[Any, list[Any]]:
    """Differentiates with autograd, without touching `Tensor.grad`."""
    with torch.enable_grad():
        value = fn()
        if not variables:
            return value.detach(), []
        gradients = torch.autograd.grad(
            value,
            [v.value for v in variables],
            allow_unused=True,
            materialize_grads=True,
        )
    return value.detach(), list(gradients)


def with_dense_gradient(x: Any) -> Any:
    """Gives `x`: gradients are dense."""
    return x


class _RowsThatTrain(torch.autograd.Function):
    """Rows of a table, which change when their gradient comes back."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Any, state: Any, ids: Any, changes: Any
    ) -> Any:
        ctx.anchor, ctx.state, ctx.ids, ctx.changes = (
            anchor,
            state,
            ids,
            changes,
        )
        return torch.index_select(state[0], 0, ids)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        table, accumulator = ctx.state
        rows, addend, step = ctx.changes(ctx.ids, gradients[0])
        accumulator.index_add_(0, rows, addend)
        table.index_add_(0, rows, step(accumulator.index_select(0, rows)))
        return torch.zeros_like(ctx.anchor), None, None, None


def rows_that_train(
    anchor: Any,
    state: Sequence[Any],
    ids: Any,
    changes: Callable[..., Any] | None,
) -> Any:
    """Gives rows of a table, whose gradient changes them in place.

    Args:
        anchor: a trainable scalar, that a gradient may pass.
        state: Keras variables, the table and its accumulator.
        ids: integers `(n,)`.
        changes: from the ids and the gradients of the rows to rows, what is
            to be added to the accumulator, and a function from its rows that
            results to what is to be added to the table; `None` if nothing
            changes.
    """
    if changes is None or not torch.is_grad_enabled():
        return torch.index_select(state[0].value.detach(), 0, ids)
    values = [variable.value.detach() for variable in state]
    rows: Any = _RowsThatTrain.apply(anchor.value, values, ids, changes)
    return rows


def stage(
    gate: Any, fn: Callable[[], Any], shape: Sequence[int], dtype: str
) -> Any:
    """Computes `fn()`; PyTorch merges no gathers."""
    return fn()


def uniform(shape: Sequence[Any], seed: Any) -> Any:
    """Draws float32 from [0, 1)."""
    return keras.random.uniform(shape, dtype="float32", seed=seed)


def gather(x: Any, index: Any) -> Any:
    """Gives `x[index]` for indices that are known to be in range."""
    rows = torch.index_select(x, 0, index.reshape(-1))
    return rows.reshape(*index.shape, *x.shape[1:])


def device_peak_memory() -> int | None:
    """Peak bytes allocated on the accelerator, None on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return None


def set_matmul_precision(precision: str) -> None:
    """Sets the precision of products and convolutions in float32."""
    fast = precision == "tensorfloat32"
    torch.set_float32_matmul_precision("high" if fast else "highest")
    torch.backends.cudnn.allow_tf32 = fast
