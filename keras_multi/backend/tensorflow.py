"""TensorFlow: what the facade offers, in TensorFlow's own terms."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

MODES = ("xla", "graph")
COMPILED = "xla"


def device() -> tuple[str, str, int]:
    """Kind, name and memory in bytes of the default device."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu", "", 0
    details = tf.config.experimental.get_device_details(gpus[0])
    return "gpu", details.get("device_name", gpus[0].name), 0


def synchronize(x: Any) -> None:
    """Waits for the devices' queues; CPU results are there when returned."""
    tf.test.experimental.sync_devices()


def jit(fn: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """Traces to a graph, and compiles it with XLA if the mode is `"xla"`."""
    compiled: Callable[..., Any] = tf.function(fn, jit_compile=mode == "xla")
    return compiled


def inference(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Traces to a graph."""
    compiled: Callable[..., Any] = tf.function(fn, autograph=False)
    return compiled


def stable_top_k(x: Any, k: int) -> tuple[Any, Any]:
    """Top k of the last axis; `tf.math.top_k` puts the lower index first."""
    values, positions = tf.math.top_k(x, k)
    return values, positions


def value_and_gradients(
    fn: Callable[[], Any], variables: list[Any]
) -> tuple[Any, list[Any]]:
    """Differentiates with a tape; sparse gradients are made dense."""
    with tf.GradientTape() as tape:
        value = fn()
    gradients = tape.gradient(
        value,
        [v.value for v in variables],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return value, [tf.convert_to_tensor(g) for g in gradients]


@tf.custom_gradient
def _densify(x: Any) -> Any:
    return tf.identity(x), tf.convert_to_tensor


def with_dense_gradient(x: Any) -> Any:
    """Sums the slices of a gradient into a tensor on the way back."""
    return _densify(tf.convert_to_tensor(x))


def device_peak_memory() -> int | None:
    """Peak bytes allocated on the accelerator, None on a CPU."""
    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return None


def set_matmul_precision(precision: str) -> None:
    """Sets the precision of products and convolutions in float32."""
    tf.config.experimental.enable_tensor_float_32_execution(
        precision == "tensorfloat32"
    )
