"""PyTorch: what the facade offers, in PyTorch's own terms."""

from collections.abc import Callable
from typing import Any

import torch

MODES = ("eager", "compile")
COMPILED = "compile"


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
