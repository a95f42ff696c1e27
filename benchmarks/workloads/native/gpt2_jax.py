"""GPT-2 in plain JAX: one jitted step with donated state."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gpt2 import Size, Texts
from benchmarks.workload import Setting
from benchmarks.workloads.native.jax import adam


class GPT2:
    """Parameters, optimizer state, and the compiled step."""

    def __init__(self, size: Size, setting: Setting) -> None:
        mixed = setting.precision == "mixed_bfloat16"
        dtype = jnp.bfloat16 if mixed else jnp.float32
        weights = size.weights()
        names = list(weights)
        params = [jnp.array(w) for w in weights.values()]
        means = [jnp.zeros_like(p) for p in params]
        variances = [jnp.zeros_like(p) for p in params]
        self.state: Any = (params, means, variances, jnp.zeros(()))

        def forward(params: dict[str, Any], ids: Any) -> Any:
            def cast(name: str) -> Any:
                return params[name].astype(dtype)

            def linear(x: Any, name: str) -> Any:
                return x @ cast(f"{name}.weight") + cast(f"{name}.bias")

            def norm(x: Any, name: str) -> Any:
                x = x.astype(jnp.float32)
                x = jax.nn.standardize(x, epsilon=1e-5)
                x = x * params[f"{name}.weight"] + params[f"{name}.bias"]
                return x.astype(dtype)

            batch, length = ids.shape
            heads = (batch, length, 3, size.num_heads, -1)
            x = cast("wte.weight")[ids] + cast("wpe.weight")[:length]
            for i in range(size.num_layers):
                block = f"h.{i}"
                qkv = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn")
                q, k, v = jnp.moveaxis(qkv.reshape(heads), 2, 0)
                mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
                mixed = mixed.reshape(batch, length, -1)
                x = x + linear(mixed, f"{block}.attn.c_proj")
                hidden = linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc")
                hidden = jax.nn.gelu(hidden, approximate=True)
                x = x + linear(hidden, f"{block}.mlp.c_proj")
            logits = norm(x, "ln_f") @ cast("wte.weight").T
            return logits.astype(jnp.float32)

        def loss(params: list[Any], ids: Any, targets: Any) -> Any:
            named = dict(zip(names, params, strict=True))
            shares = jax.nn.log_softmax(forward(named, ids))
            own = jnp.take_along_axis(shares, targets[..., None], axis=-1)
            return -jnp.mean(own)

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state: Any, ids: Any, targets: Any) -> Any:
            value, grads = jax.value_and_grad(loss)(state[0], ids, targets)
            params, means, variances, count = state
            return adam(params, means, variances, count, grads), value

        self._step = step

    def fit(self, texts: Texts, slices: Sequence[slice]) -> float:
        """Trains on some batches; gives their mean loss."""
        losses = []
        for rows in slices:
            self.state, loss = self._step(
                self.state, texts.inputs(rows), texts.targets[rows]
            )
            losses.append(loss)
        jax.block_until_ready(self.state)
        return float(np.mean([float(x) for x in losses]))
