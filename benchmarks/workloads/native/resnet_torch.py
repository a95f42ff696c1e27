"""Residual networks in plain PyTorch: channels last, autocast, fused SGD."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

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

Tensors = dict[str, list[torch.Tensor]]


def predict(
    weights: Weights, depths: Sequence[int], setting: Setting
) -> Predict:
    """A network for large images, as a function of images."""
    params = _tensors(weights)

    def network(images: torch.Tensor) -> torch.Tensor:
        return _logits(params, images, depths, training=False)

    if setting.mode == "compile":
        network = torch.compile(network)

    def run(images: np.ndarray, batch_size: int) -> np.ndarray:
        with torch.inference_mode(), _autocast(setting):
            parts = [
                network(rows)
                for rows in torch.from_numpy(images).split(batch_size)
            ]
            return torch.cat(parts).numpy()

    return run


def train(weights: Weights, depths: Sequence[int], setting: Setting) -> Fit:
    """Steps of SGD with momentum, as a function of images and labels."""
    params = _tensors(weights)
    # The running mean and variance of a normalization stand last.
    trained = [t for tensors in params.values() for t in tensors[:2]]
    for tensor in trained:
        tensor.requires_grad_()
    optimizer = torch.optim.SGD(
        trained, lr=LEARNING_RATE, momentum=MOMENTUM, fused=True
    )

    def loss(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with _autocast(setting):
            logits = _logits(params, images, depths, training=True)
        return functional.cross_entropy(logits, labels)

    if setting.mode == "compile":
        loss = torch.compile(loss)

    def fit(images: np.ndarray, labels: np.ndarray, batch_size: int) -> float:
        losses = []
        for rows, classes in zip(
            torch.from_numpy(images).split(batch_size),
            torch.from_numpy(labels).long().split(batch_size),
            strict=True,
        ):
            optimizer.zero_grad(set_to_none=True)
            value = loss(rows, classes)
            value.backward()
            optimizer.step()
            losses.append(value.detach())
        return float(np.mean([float(x) for x in losses]))

    return fit


def _autocast(setting: Setting) -> torch.autocast:
    mixed = setting.precision == "mixed_bfloat16"
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed)


def _tensors(weights: Weights) -> Tensors:
    """Kernels as PyTorch has them, with the channels last in memory."""
    return {
        name: [
            torch.from_numpy(array.transpose(3, 2, 0, 1)).contiguous(
                memory_format=torch.channels_last
            )
            if array.ndim == 4
            else torch.from_numpy(array.copy())
            for array in arrays
        ]
        for name, arrays in weights.items()
    }


def _same(x: torch.Tensor, size: int, strides: int) -> torch.Tensor:
    """Pads as TensorFlow does, the odd pixel at the end."""
    pads: list[int] = []
    for side in (x.shape[3], x.shape[2]):
        pad = max((-(-side // strides) - 1) * strides + size - side, 0)
        pads += [pad // 2, pad - pad // 2]
    return functional.pad(x, pads)


def _logits(
    params: Tensors,
    images: torch.Tensor,
    depths: Sequence[int],
    training: bool,
) -> torch.Tensor:
    relu = functional.relu

    def conv_norm(x: torch.Tensor, name: str, strides: int = 1) -> torch.Tensor:
        (w,) = params[f"{name}_conv"]
        gamma, beta, mean, variance = params[f"{name}_norm"]
        if strides == 1:
            x = functional.conv2d(x, w, padding="same")
        else:
            x = functional.conv2d(_same(x, w.shape[-1], strides), w, None, 2)
        return functional.batch_norm(
            x,
            mean,
            variance,
            gamma,
            beta,
            training,
            momentum=1 - NORM_MOMENTUM,
            eps=EPSILON,
        )

    x = images.permute(0, 3, 1, 2)  # the channels stay last in memory
    x = relu(conv_norm(x / 127.5 - 1, "stem", 2))
    # The padding is below no value, as each is positive or 0.
    x = functional.max_pool2d(_same(x, 3, 2), 3, 2)
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
    return (x.float().mean((2, 3)) @ kernel + bias).float()
