"""Residual networks in plain TensorFlow: `tf.function`, a tape, fused ops."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

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

# From a feature map and its normalization's variables to a feature map.
Norm = Callable[[Any, list[Any]], Any]


def predict(
    weights: Weights, depths: Sequence[int], setting: Setting
) -> Predict:
    """A network for large images, as a function of images."""
    params = _variables(weights)

    def norm(x: Any, variables: list[Any]) -> Any:
        gamma, beta, mean, variance = variables
        scale = gamma * tf.math.rsqrt(variance + EPSILON)
        offset = beta - mean * scale
        return x * tf.cast(scale, x.dtype) + tf.cast(offset, x.dtype)

    @tf.function(jit_compile=setting.mode == "xla", reduce_retracing=True)
    def network(images: Any) -> Any:
        return _logits(params, images, depths, _dtype(setting), norm)

    def run(images: np.ndarray, batch_size: int) -> np.ndarray:
        parts = [
            network(tf.constant(images[start : start + batch_size]))
            for start in range(0, len(images), batch_size)
        ]
        return np.concatenate([part.numpy() for part in parts])

    return run


def train(weights: Weights, depths: Sequence[int], setting: Setting) -> Fit:
    """Steps of SGD with momentum, as a function of images and labels."""
    params = _variables(weights)
    # The running mean and variance of a normalization stand last.
    trained = [v for variables in params.values() for v in variables[:2]]
    velocity = [tf.Variable(tf.zeros_like(v)) for v in trained]

    def norm(x: Any, variables: list[Any]) -> Any:
        gamma, beta, *running = variables
        y, *moments = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=[],
            variance=[],
            epsilon=EPSILON,
        )[:3]
        for average, moment in zip(running, moments, strict=True):
            average.assign_sub((1 - NORM_MOMENTUM) * (average - moment))
        return y

    @tf.function(jit_compile=setting.mode == "xla")
    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = _logits(params, images, depths, _dtype(setting), norm)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            )
        gradients = tape.gradient(loss, trained)
        for v, m, g in zip(trained, velocity, gradients, strict=True):
            tf.raw_ops.ResourceApplyMomentum(
                var=v.handle,
                accum=m.handle,
                lr=LEARNING_RATE,
                grad=g,
                momentum=MOMENTUM,
            )
        return loss

    def fit(images: np.ndarray, labels: np.ndarray, batch_size: int) -> float:
        losses = [
            step(
                tf.constant(images[start : start + batch_size]),
                tf.constant(labels[start : start + batch_size]),
            )
            for start in range(0, len(images), batch_size)
        ]
        return float(np.mean([float(x) for x in losses]))

    return fit


def _dtype(setting: Setting) -> Any:
    mixed = setting.precision == "mixed_bfloat16"
    return tf.bfloat16 if mixed else tf.float32


def _variables(weights: Weights) -> dict[str, list[Any]]:
    return {
        name: [tf.Variable(array) for array in arrays]
        for name, arrays in weights.items()
    }


def _logits(
    params: dict[str, list[Any]],
    images: Any,
    depths: Sequence[int],
    dtype: Any,
    norm: Norm,
) -> Any:
    relu = tf.nn.relu

    def conv_norm(x: Any, name: str, strides: int = 1) -> Any:
        kernel = tf.cast(params[f"{name}_conv"][0], dtype)
        x = tf.nn.conv2d(x, kernel, strides, "SAME")
        return norm(x, params[f"{name}_norm"])

    x = tf.cast(images / 127.5 - 1, dtype)
    x = tf.nn.max_pool2d(relu(conv_norm(x, "stem", 2)), 3, 2, "SAME")
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
    return tf.reduce_mean(tf.cast(x, tf.float32), (1, 2)) @ kernel + bias
