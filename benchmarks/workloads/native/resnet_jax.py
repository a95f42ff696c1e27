"""Residual networks in plain JAX: predictions, and a jitted step of SGD."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.classifier import (
    EPSILON,
    LEARNING_RATE,
    MOMENTUM,
    NORM_MOMENTUM,
    Fit,
    Predict,
    Weights,
)
from benchmarks.workload import Setting

# From a feature map, its normalization's arrays and name to a feature map.
Norm = Callable[[Any, list[Any], str], Any]


def predict(
    weights: Weights, depths: Sequence[int], setting: Setting
) -> Predict:
    """A network for large images, as a function of images."""

    @jax.jit
    def network(params: dict[str, list[Any]], images: Any) -> Any:
        def norm(x: Any, arrays: list[Any], name: str) -> Any:
            return _scale(x, *arrays)

        return _logits(params, images, depths, _dtype(setting), norm)

    params = jax.tree.map(jnp.asarray, weights)

    def run(images: np.ndarray, batch_size: int) -> np.ndarray:
        parts = [
            network(params, images[start : start + batch_size])
            for start in range(0, len(images), batch_size)
        ]
        return np.concatenate(parts)

    return run


def train(weights: Weights, depths: Sequence[int], setting: Setting) -> Fit:
    """Steps of SGD with momentum, as a function of images and labels."""
    # The running mean and variance of a normalization stand last.
    trained = {name: arrays[:2] for name, arrays in weights.items()}
    running = {name: arrays[2:] for name, arrays in weights.items()}

    def loss(params: Any, images: Any, labels: Any) -> Any:
        moments: dict[str, list[Any]] = {name: [] for name in params}

        def norm(x: Any, arrays: list[Any], name: str) -> Any:
            y = x.astype(jnp.float32)
            moments[name] = [y.mean((0, 1, 2)), y.var((0, 1, 2))]
            return _scale(x, *arrays, *moments[name])

        logits = _logits(params, images, depths, _dtype(setting), norm)
        chosen = jnp.take_along_axis(
            jax.nn.log_softmax(logits), labels[:, None], 1
        )
        return -chosen.mean(), moments

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, images: Any, labels: Any) -> Any:
        params, velocity, running = state
        (value, moments), grads = jax.value_and_grad(loss, has_aux=True)(
            params, images, labels
        )
        velocity = jax.tree.map(
            lambda v, g: MOMENTUM * v - LEARNING_RATE * g, velocity, grads
        )
        params = jax.tree.map(jnp.add, params, velocity)
        running = jax.tree.map(
            lambda r, m: NORM_MOMENTUM * r + (1 - NORM_MOMENTUM) * m,
            running,
            moments,
        )
        return (params, velocity, running), value

    params = jax.tree.map(jnp.asarray, trained)
    velocity = jax.tree.map(jnp.zeros_like, params)
    state: Any = (params, velocity, jax.tree.map(jnp.asarray, running))

    def fit(images: np.ndarray, labels: np.ndarray, batch_size: int) -> float:
        nonlocal state
        losses = []
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            state, value = step(state, images[rows], labels[rows])
            losses.append(value)
        jax.block_until_ready(state)
        return float(np.mean([float(x) for x in losses]))

    return fit


def _dtype(setting: Setting) -> Any:
    mixed = setting.precision == "mixed_bfloat16"
    return jnp.bfloat16 if mixed else jnp.float32


def _scale(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any) -> Any:
    scale = gamma * jax.lax.rsqrt(variance + EPSILON)
    offset = beta - mean * scale
    return x * scale.astype(x.dtype) + offset.astype(x.dtype)


def _logits(
    params: dict[str, list[Any]],
    images: Any,
    depths: Sequence[int],
    dtype: Any,
    norm: Norm,
) -> Any:
    relu = jax.nn.relu

    def conv_norm(x: Any, name: str, strides: int = 1) -> Any:
        x = jax.lax.conv_general_dilated(
            x,
            params[f"{name}_conv"][0].astype(dtype),
            (strides, strides),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return norm(x, params[f"{name}_norm"], f"{name}_norm")

    x = relu(conv_norm((images / 127.5 - 1).astype(dtype), "stem", 2))
    x = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"
    )
    for stage, depth in enumerate(depths, 1):
        for block in range(1, depth + 1):
            name = f"stage{stage}_{block}"
            strides = 2 if block == 1 and stage > 1 else 1
            shortcut = x
            if f"{name}_shortcut_conv" in params:
                shortcut = conv_norm(x, f"{name}_shortcut", strides)
            y = relu(conv_norm(x, f"{name}_1", strides))
            x = relu(conv_norm(y, f"{name}_2") + shortcut)
    kernel, bias = params["logits"]
    return x.astype(jnp.float32).mean((1, 2)) @ kernel + bias
