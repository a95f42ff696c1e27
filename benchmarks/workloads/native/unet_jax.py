"""The UNet of Stable Diffusion in plain JAX: one jitted function."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Most places for which patches are gathered and multiplied: XLA's own
# convolution on a CPU is slower there, up to forty times where there are few.
MAX_PATCHES = 256

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
        mode: `"xla"`, the only one.
    """
    params = {name: jnp.asarray(_laid_out(array)) for name, array in weights}
    levels = len(config["block_out_channels"])
    layers, groups = config["layers_per_block"], config["norm_num_groups"]
    heads = np.broadcast_to(config["attention_head_dim"], levels).tolist()
    depth = range(config["transformer_layers_per_block"])

    def resnet(p: Params, x: Any, time: Any, name: str) -> Any:
        y = jax.nn.silu(_group_norm(p, x, f"{name}.norm1", groups, 1e-5))
        y = _conv(p, y, f"{name}.conv1")
        shift = _linear(p, jax.nn.silu(time), f"{name}.time_emb_proj")
        y = y + shift[:, None, None]
        y = jax.nn.silu(_group_norm(p, y, f"{name}.norm2", groups, 1e-5))
        y = _conv(p, y, f"{name}.conv2")
        if f"{name}.conv_shortcut.weight" in p:
            x = _linear(p, x, f"{name}.conv_shortcut")
        return x + y

    def transformer(
        p: Params, x: Any, context: Any, name: str, heads: int
    ) -> Any:
        if f"{name}.norm.weight" not in p:
            return x
        tokens = _group_norm(p, x, f"{name}.norm", groups, 1e-6)
        tokens = tokens.reshape(len(x), -1, x.shape[-1])
        tokens = _linear(p, tokens, f"{name}.proj_in")
        for k in depth:
            tokens = _block(
                p, tokens, context, f"{name}.transformer_blocks.{k}", heads
            )
        return x + _linear(p, tokens, f"{name}.proj_out").reshape(x.shape)

    @jax.jit
    def network(p: Params, x: Any, timesteps: Any, context: Any) -> Any:
        half = config["block_out_channels"][0] // 2
        angles = timesteps[:, None] * 10000 ** (-jnp.arange(half) / half)
        waves = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)
        time = jax.nn.silu(_linear(p, waves, "time_embedding.linear_1"))
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
                x = jnp.concatenate([x, skips.pop()], -1)
                x = resnet(p, x, time, f"{level}.resnets.{j}")
                name = f"{level}.attentions.{j}"
                x = transformer(p, x, context, name, heads[-1 - i])
            if i < levels - 1:
                x = x.repeat(2, axis=1).repeat(2, axis=2)
                x = _conv(p, x, f"{level}.upsamplers.0.conv")
        x = jax.nn.silu(_group_norm(p, x, "conv_norm_out", groups, 1e-5))
        return _conv(p, x, "conv_out")

    def call(*inputs: np.ndarray) -> np.ndarray:
        return np.asarray(network(params, *inputs))

    return call


def _laid_out(array: np.ndarray) -> np.ndarray:
    """Matrices as (in, out), and kernels as (height, width, in, out)."""
    if array.ndim == 4 and array.shape[2:] != (1, 1):
        return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
    if array.ndim > 1:
        return np.ascontiguousarray(array.reshape(array.shape[:2]).T)
    return array


def _linear(p: Params, x: Any, name: str) -> Any:
    y = x @ p[f"{name}.weight"]
    bias = f"{name}.bias"
    return y + p[bias] if bias in p else y


def _conv(p: Params, x: Any, name: str, stride: int = 1) -> Any:
    kernel, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    batch, height, width, _ = x.shape
    size = batch, height // stride, width // stride
    if np.prod(size) > MAX_PATCHES:
        strides, padding = (stride, stride), ((1, 1), (1, 1))
        order = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=order
        )
        return y + bias
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = [
        x[:, row : row + height : stride, column : column + width : stride]
        for row in range(3)
        for column in range(3)
    ]
    matrix = kernel.reshape(-1, kernel.shape[-1])
    y = jnp.concatenate(patches, -1).reshape(-1, len(matrix)) @ matrix
    return y.reshape(*size, -1) + bias


def _group_norm(
    p: Params, x: Any, name: str, groups: int, epsilon: float
) -> Any:
    parts = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    parts = jax.nn.standardize(parts, axis=(1, 3), epsilon=epsilon)
    return parts.reshape(x.shape) * p[f"{name}.weight"] + p[f"{name}.bias"]


def _block(p: Params, x: Any, context: Any, name: str, heads: int) -> Any:
    def norm(x: Any, own: str) -> Any:
        x = jax.nn.standardize(x, epsilon=1e-5)
        return x * p[f"{name}.{own}.weight"] + p[f"{name}.{own}.bias"]

    def attention(x: Any, context: Any, own: str) -> Any:
        query, key, value = (
            _linear(p, y, f"{name}.{own}.{part}").reshape(
                *y.shape[:2], heads, -1
            )
            for part, y in (("to_q", x), ("to_k", context), ("to_v", context))
        )
        y = jax.nn.dot_product_attention(query, key, value).reshape(x.shape)
        return _linear(p, y, f"{name}.{own}.to_out.0")

    y = norm(x, "norm1")
    x = x + attention(y, y, "attn1")
    x = x + attention(norm(x, "norm2"), context, "attn2")
    wide = _linear(p, norm(x, "norm3"), f"{name}.ff.net.0.proj")
    y, gate = jnp.split(wide, 2, axis=-1)
    y = y * jax.nn.gelu(gate, approximate=False)
    return x + _linear(p, y, f"{name}.ff.net.2")
