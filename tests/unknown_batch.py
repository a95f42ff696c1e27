"""A function compiled for batches of any size."""

from collections.abc import Callable
from typing import Any

from keras_multi import backend


def unknown_batch(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function so that a second size makes the size unknown.

    JAX alone compiles each size anew.
    """
    if backend.name() == "jax":
        return backend.jit(fn)
    if backend.name() == "torch":
        import torch

        return torch.compile(fn, dynamic=True, backend="eager")
    import tensorflow as tf

    return tf.function(fn, reduce_retracing=True)
