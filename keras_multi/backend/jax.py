"""JAX: what the facade offers, in JAX's own terms."""

from collections.abc import Callable
from typing import Any

import jax
import keras

MODES = ("xla",)
COMPILED = "xla"


def device() -> tuple[str, str, int]:
    """Kind, name and memory in bytes of the default device."""
    first = jax.devices()[0]
    stats = first.memory_stats() or {}
    kind = {"cuda": "gpu", "rocm": "gpu"}.get(first.platform, first.platform)
    return kind, first.device_kind, int(stats.get("bytes_limit", 0))


def synchronize(x: Any) -> None:
    """Blocks until every array in `x` is there; effects too if `x` is None."""
    if x is None:
        jax.effects_barrier()
        for array in jax.live_arrays():
            array.block_until_ready()
    else:
        jax.block_until_ready(x)


def jit(fn: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """Compiles with XLA, the only mode."""
    compiled: Callable[..., Any] = jax.jit(fn)
    return compiled


def inference(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles with XLA."""
    compiled: Callable[..., Any] = jax.jit(fn)
    return compiled


def stable_top_k(x: Any, k: int) -> tuple[Any, Any]:
    """Top k of the last axis; `lax.top_k` puts the lower index first."""
    values, positions = jax.lax.top_k(x, k)
    return values, positions


def value_and_gradients(
    fn: Callable[[], Any], variables: list[Any]
) -> tuple[Any, list[Any]]:
    """Differentiates through Keras's stateless scope."""

    def stateless(values: list[Any]) -> Any:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return fn()

    value, gradients = jax.value_and_grad(stateless)(
        [v.value for v in variables]
    )
    return value, gradients


def with_dense_gradient(x: Any) -> Any:
    """Gives `x`: gradients are dense."""
    return x


def device_peak_memory() -> int | None:
    """Peak bytes in use on the accelerator, None on a CPU."""
    stats = jax.devices()[0].memory_stats()
    return int(stats["peak_bytes_in_use"]) if stats else None


def set_matmul_precision(precision: str) -> None:
    """Sets the default precision of products of float32 matrices."""
    jax.config.update("jax_default_matmul_precision", precision)
