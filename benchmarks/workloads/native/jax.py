"""DCN in plain JAX: one jitted step with donated state, Adam written out."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.dcn import EPSILON, LEARNING_RATE, Batches, Shape
from benchmarks.two_tower import TEMPERATURE, Pairs, Towers
from benchmarks.workload import Setting


def adam(
    params: list[Any],
    means: list[Any],
    variances: list[Any],
    count: Any,
    grads: list[Any],
) -> tuple[Any, ...]:
    """A step: parameters, their moments, and the number of steps."""
    count = count + 1
    rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**count)
    rate = rate / (1 - 0.9**count)

    def update(p: Any, m: Any, v: Any, g: Any) -> Any:
        m = m + 0.1 * (g - m)
        v = v + 0.001 * (g * g - v)
        return p - rate * m / (jnp.sqrt(v) + EPSILON), m, v

    updated = [
        update(*state)
        for state in zip(params, means, variances, grads, strict=True)
    ]
    return (*(list(part) for part in zip(*updated, strict=True)), count)


class DCN:
    """Parameters, optimizer state, and the compiled functions."""

    def __init__(self, shape: Shape, setting: Setting) -> None:
        mixed = setting.precision == "mixed_bfloat16"
        dtype = jnp.bfloat16 if mixed else jnp.float32
        starts = np.cumsum((0, *shape.vocabulary_sizes[:-1])).astype("int32")
        self.params = [jnp.asarray(w) for w in shape.weights()]
        self.means = [jnp.zeros_like(p) for p in self.params]
        self.variances = [jnp.zeros_like(p) for p in self.params]
        self.step_count = jnp.zeros((), jnp.float32)

        def forward(params: list[Any], ids: Any, dense: Any) -> Any:
            table, *layers = params
            layers = list(zip(layers[::2], layers[1::2], strict=True))
            embedded = table[ids + starts].reshape(ids.shape[0], -1)
            x0 = jnp.concatenate([embedded, dense], 1).astype(dtype)
            x = x0
            for w, b in layers[: shape.num_cross_layers]:
                x = x0 * (x @ w.astype(dtype) + b.astype(dtype)) + x
            for w, b in layers[shape.num_cross_layers : -1]:
                x = jax.nn.relu(x @ w.astype(dtype) + b.astype(dtype))
            w, b = layers[-1]
            return x.astype(jnp.float32) @ w + b

        def loss(params: list[Any], ids: Any, dense: Any, y: Any) -> Any:
            z = forward(params, ids, dense)
            if not shape.binary:
                return jnp.mean(jnp.square(z - y))
            return jnp.mean(jax.nn.softplus(z) - z * y)

        @functools.partial(jax.jit, donate_argnums=(0, 1, 2, 3))
        def step(
            params: list[Any],
            means: list[Any],
            variances: list[Any],
            count: Any,
            ids: Any,
            dense: Any,
            y: Any,
        ) -> Any:
            value, grads = jax.value_and_grad(loss)(params, ids, dense, y)
            return (*adam(params, means, variances, count, grads), value)

        self._step, self._forward = step, jax.jit(forward)

    def fit(self, batches: Batches, slices: Sequence[slice]) -> float:
        """Trains on some batches; gives the mean loss of their rows."""
        losses = []
        for rows in slices:
            *state, loss = self._step(
                self.params,
                self.means,
                self.variances,
                self.step_count,
                batches.ids[rows],
                batches.dense[rows],
                batches.targets[rows],
            )
            self.params, self.means, self.variances, self.step_count = state
            losses.append(loss)
        sizes = [len(batches.ids[rows]) for rows in slices]
        jax.block_until_ready(self.params)
        return float(np.average([float(x) for x in losses], weights=sizes))

    def predict(self, batches: Batches, slices: Sequence[slice]) -> np.ndarray:
        """Predicts some batches."""
        parts = [
            self._forward(self.params, batches.ids[rows], batches.dense[rows])
            for rows in slices
        ]
        return np.concatenate([np.asarray(part) for part in parts])


class TwoTower:
    """Parameters, optimizer state, and the compiled step."""

    def __init__(self, towers: Towers, setting: Setting) -> None:
        mixed = setting.precision == "mixed_bfloat16"
        dtype = jnp.bfloat16 if mixed else jnp.float32
        params = [jnp.asarray(w) for w in towers.weights()]
        zeros = [jnp.zeros_like(p) for p in params]
        more = [jnp.zeros_like(p) for p in params]
        self.state: Any = (params, zeros, more, jnp.zeros((), jnp.float32))

        def tower(weights: list[Any], ids: Any) -> Any:
            table, *layers = weights
            x = table[ids].astype(dtype)
            pairs = list(zip(layers[::2], layers[1::2], strict=True))
            for w, b in pairs[:-1]:
                x = jax.nn.relu(x @ w.astype(dtype) + b.astype(dtype))
            w, b = pairs[-1]
            return (x @ w.astype(dtype) + b.astype(dtype)).astype(jnp.float32)

        def loss(params: list[Any], user_ids: Any, item_ids: Any) -> Any:
            half = len(params) // 2
            u = tower(params[:half], user_ids)
            v = tower(params[half:], item_ids)
            logits = u @ v.T / TEMPERATURE
            own = jnp.eye(len(item_ids), dtype=bool)
            same = (item_ids[:, None] == item_ids) & ~own
            logits = jnp.where(same, -jnp.inf, logits)
            total = jax.nn.logsumexp(logits, axis=1)
            return jnp.mean(total - jnp.diagonal(logits))

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state: Any, user_ids: Any, item_ids: Any) -> Any:
            value, grads = jax.value_and_grad(loss)(
                state[0], user_ids, item_ids
            )
            params, means, variances, count = state
            new = adam(params, means, variances, count, grads)
            return new, value

        self._step = step

    def fit(self, pairs: Pairs, slices: Sequence[slice]) -> float:
        """Trains on some batches; gives their mean loss."""
        losses = []
        for rows in slices:
            ids = pairs.ids[rows]
            self.state, loss = self._step(self.state, ids[:, 0], ids[:, 1])
            losses.append(loss)
        jax.block_until_ready(self.state)
        return float(np.mean([float(x) for x in losses]))


def top_k(candidates: np.ndarray, k: int) -> Callable[[np.ndarray], np.ndarray]:
    """Finds the highest scores in the matrix of all."""
    rows = jnp.asarray(candidates)

    @jax.jit
    def best(queries: Any, rows: Any) -> Any:
        return jax.lax.top_k(queries @ rows.T, k)

    def search(queries: np.ndarray) -> np.ndarray:
        scores, found = best(queries, rows)
        np.asarray(found)
        return np.asarray(scores)

    return search
