"""The UNet of Stable Diffusion in plain PyTorch, channels last in memory."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

Params = dict[str, Any]


def unet(
    weights: Iterable[tuple[str, np.ndarray]],
    config: Mapping[str, Any],
    mode: str,
) -> Callable[..., np.ndarray]:
    """Makes a UNet, as a function of latents, time steps and contexts.

    Args:
        weights: float32, with their names and layouts in files of diffusers.
        config: of diffusers.
        mode: `"eager"` or `"compile"`.
    """
    params = {name: _laid_out(array) for name, array in weights}
    levels = len(config["block_out_channels"])
    layers, groups = config["layers_per_block"], config["norm_num_groups"]
    heads = np.broadcast_to(config["attention_head_dim"], levels).tolist()
    depth = range(config["transformer_layers_per_block"])

    def resnet(p: Params, x: Any, time: Any, name: str) -> Any:
        y = F.silu(_group_norm(p, x, f"{name}.norm1", groups, 1e-5))
        y = _conv(p, y, f"{name}.conv1")
        shift = _linear(p, F.silu(time), f"{name}.time_emb_proj")
        y = y + shift[:, :, None, None]
        y = F.silu(_group_norm(p, y, f"{name}.norm2", groups, 1e-5))
        y = _conv(p, y, f"{name}.conv2")
        if f"{name}.conv_shortcut.weight" in p:
            x = _conv(p, x, f"{name}.conv_shortcut")
        return x + y

    def transformer(
        p: Params, x: Any, context: Any, name: str, heads: int
    ) -> Any:
        if f"{name}.norm.weight" not in p:
            return x
        tokens = _group_norm(p, x, f"{name}.norm", groups, 1e-6)
        tokens = tokens.flatten(2).mT
        tokens = _linear(p, tokens, f"{name}.proj_in")
        for k in depth:
            tokens = _block(
                p, tokens, context, f"{name}.transformer_blocks.{k}", heads
            )
        tokens = _linear(p, tokens, f"{name}.proj_out")
        return x + tokens.mT.unflatten(2, x.shape[2:])

    def network(p: Params, x: Any, timesteps: Any, context: Any) -> Any:
        half = config["block_out_channels"][0] // 2
        angles = timesteps[:, None] * 10000 ** (-torch.arange(half) / half)
        waves = torch.cat([torch.cos(angles), torch.sin(angles)], -1)
        time = F.silu(_linear(p, waves, "time_embedding.linear_1"))
        time = _linear(p, time, "time_embedding.linear_2")
        x = _conv(p, x, "conv_in")
        skips = [x]
        for i in range(levels):
            level = f"down_blocks.{i}"
            for j in range(layers):
                x = resnet(p, x, time, f"{level}.resnets.{j}")
                name = f"{level}.attentions.{j}"
                x = transformer(p, x, context, name, heads[i])
                skips.append(x)
            if i < levels - 1:
                x = _conv(p, x, f"{level}.downsamplers.0.conv", 2)
                skips.append(x)
        x = resnet(p, x, time, "mid_block.resnets.0")
        x = transformer(p, x, context, "mid_block.attentions.0", heads[-1])
        x = resnet(p, x, time, "mid_block.resnets.1")
        for i in range(levels):
            level = f"up_blocks.{i}"
            for j in range(layers + 1):
                x = torch.cat([x, skips.pop()], 1)
                x = resnet(p, x, time, f"{level}.resnets.{j}")
                name = f"{level}.attentions.{j}"
                x = transformer(p, x, context, name, heads[-1 - i])
            if i < levels - 1:
                x = F.interpolate(x, scale_factor=2.0)
                x = _conv(p, x, f"{level}.upsamplers.0.conv")
        x = F.silu(_group_norm(p, x, "conv_norm_out", groups, 1e-5))
        return _conv(p, x, "conv_out")

    run = torch.compile(network) if mode == "compile" else network

    @torch.inference_mode()
    def call(*inputs: np.ndarray) -> np.ndarray:
        latents, *others = map(torch.from_numpy, inputs)
        y = run(params, latents.permute(0, 3, 1, 2), *others)
        return np.asarray(y.permute(0, 2, 3, 1))

    return call


def _laid_out(array: np.ndarray) -> Any:
    tensor = torch.from_numpy(array)
    if tensor.ndim == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def _linear(p: Params, x: Any, name: str) -> Any:
    matrix = p[f"{name}.weight"].flatten(1)
    return F.linear(x, matrix, p.get(f"{name}.bias"))


def _conv(p: Params, x: Any, name: str, stride: int = 1) -> Any:
    kernel, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    return F.conv2d(x, kernel, bias, stride, kernel.shape[-1] // 2)


def _group_norm(
    p: Params, x: Any, name: str, groups: int, epsilon: float
) -> Any:
    weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    return F.group_norm(x, groups, weight, bias, epsilon)


def _block(p: Params, x: Any, context: Any, name: str, heads: int) -> Any:
    def norm(x: Any, own: str) -> Any:
        weight, bias = (p[f"{name}.{own}.{end}"] for end in ("weight", "bias"))
        return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)

    def attention(x: Any, context: Any, own: str) -> Any:
        query, key, value = (
            _linear(p, y, f"{name}.{own}.{part}")
            .unflatten(-1, (heads, -1))
            .transpose(1, 2)
            for part, y in (("to_q", x), ("to_k", context), ("to_v", context))
        )
        y = F.scaled_dot_product_attention(query, key, value)
        y = y.transpose(1, 2).flatten(2)
        return _linear(p, y, f"{name}.{own}.to_out.0")

    y = norm(x, "norm1")
    x = x + attention(y, y, "attn1")
    x = x + attention(norm(x, "norm2"), context, "attn2")
    wide = _linear(p, norm(x, "norm3"), f"{name}.ff.net.0.proj")
    y, gate = wide.chunk(2, dim=-1)
    return x + _linear(p, y * F.gelu(gate), f"{name}.ff.net.2")
