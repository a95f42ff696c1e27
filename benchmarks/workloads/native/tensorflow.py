"""DCN in plain TensorFlow: `tf.function`, a tape, and the fused Adam op."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.dcn import EPSILON, LEARNING_RATE, Batches, Shape
from benchmarks.two_tower import TEMPERATURE, Pairs, Towers
from benchmarks.workload import Setting


def adam(variables: list[Any]) -> Callable[[list[Any]], None]:
    """Gives the function that updates the variables by their gradients."""
    means = [tf.Variable(tf.zeros_like(v)) for v in variables]
    variances = [tf.Variable(tf.zeros_like(v)) for v in variables]
    count = tf.Variable(0.0)

    def update(gradients: list[Any]) -> None:
        count.assign_add(1.0)
        for v, m, u, g in zip(
            variables, means, variances, gradients, strict=True
        ):
            tf.raw_ops.ResourceApplyAdam(
                var=v.handle,
                m=m.handle,
                v=u.handle,
                beta1_power=tf.pow(0.9, count),
                beta2_power=tf.pow(0.999, count),
                lr=LEARNING_RATE,
                beta1=0.9,
                beta2=0.999,
                epsilon=EPSILON,
                grad=tf.convert_to_tensor(g),
            )

    return update


class DCN:
    """Variables, optimizer state, and the compiled functions."""

    def __init__(self, shape: Shape, setting: Setting) -> None:
        mixed = setting.precision == "mixed_bfloat16"
        dtype = tf.bfloat16 if mixed else tf.float32
        starts = np.cumsum((0, *shape.vocabulary_sizes[:-1])).astype("int32")
        variables = [tf.Variable(w) for w in shape.weights()]
        update = adam(variables)
        table, *rest = variables
        layers = list(zip(rest[::2], rest[1::2], strict=True))
        width = len(shape.vocabulary_sizes) * shape.embedding_dim

        def linear(x: Any, layer: tuple[Any, Any]) -> Any:
            w, b = layer
            return tf.nn.bias_add(x @ tf.cast(w, x.dtype), tf.cast(b, x.dtype))

        def forward(ids: Any, dense: Any) -> Any:
            embedded = tf.reshape(tf.gather(table, ids + starts), (-1, width))
            x0 = tf.cast(tf.concat([embedded, dense], 1), dtype)
            x = x0
            for layer in layers[: shape.num_cross_layers]:
                x = x0 * linear(x, layer) + x
            for layer in layers[shape.num_cross_layers : -1]:
                x = tf.nn.relu(linear(x, layer))
            return linear(tf.cast(x, tf.float32), layers[-1])

        # Not compiled by XLA: in `dcn_train` on two CPU cores that took about
        # 45 times as long at batch 256, and 7 times at batch 4096.
        @tf.function
        def step(ids: Any, dense: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                z = forward(ids, dense)
                if shape.binary:
                    loss = tf.reduce_mean(
                        tf.nn.sigmoid_cross_entropy_with_logits(y, z)
                    )
                else:
                    loss = tf.reduce_mean(tf.square(z - y))
            gradients = tape.gradient(loss, variables)
            update(gradients)
            return loss

        self._step = step
        self._forward = tf.function(forward, jit_compile=setting.mode == "xla")

    def fit(self, batches: Batches, slices: Sequence[slice]) -> float:
        """Trains on some batches; gives the mean loss of their rows."""
        losses = [
            self._step(
                batches.ids[rows], batches.dense[rows], batches.targets[rows]
            )
            for rows in slices
        ]
        sizes = [len(batches.ids[rows]) for rows in slices]
        return float(np.average([float(x) for x in losses], weights=sizes))

    def predict(self, batches: Batches, slices: Sequence[slice]) -> np.ndarray:
        """Predicts some batches."""
        parts = [
            self._forward(batches.ids[rows], batches.dense[rows])
            for rows in slices
        ]
        return np.concatenate([part.numpy() for part in parts])


class TwoTower:
    """Variables, optimizer state, and the compiled step."""

    def __init__(self, towers: Towers, setting: Setting) -> None:
        mixed = setting.precision == "mixed_bfloat16"
        dtype = tf.bfloat16 if mixed else tf.float32
        variables = [tf.Variable(w) for w in towers.weights()]
        half = len(variables) // 2
        update = adam(variables)

        def tower(weights: list[Any], ids: Any) -> Any:
            table, *layers = weights
            x = tf.cast(tf.gather(table, ids), dtype)
            pairs = list(zip(layers[::2], layers[1::2], strict=True))
            for i, (w, b) in enumerate(pairs):
                x = tf.nn.bias_add(x @ tf.cast(w, dtype), tf.cast(b, dtype))
                x = tf.nn.relu(x) if i < len(pairs) - 1 else x
            return tf.cast(x, tf.float32)

        @tf.function
        def step(user_ids: Any, item_ids: Any) -> Any:
            with tf.GradientTape() as tape:
                u = tower(variables[:half], user_ids)
                v = tower(variables[half:], item_ids)
                logits = tf.matmul(u, v, transpose_b=True) / TEMPERATURE
                count = tf.shape(item_ids)[0]
                same = item_ids[:, None] == item_ids
                same &= ~tf.eye(count, dtype=tf.bool)
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(
                        tf.range(count),
                        tf.where(same, logits.dtype.min, logits),
                    )
                )
            update(tape.gradient(loss, variables))
            return loss

        self._step = step

    def fit(self, pairs: Pairs, slices: Sequence[slice]) -> float:
        """Trains on some batches; gives their mean loss."""
        losses = [
            self._step(pairs.ids[rows, 0], pairs.ids[rows, 1])
            for rows in slices
        ]
        return float(np.mean([float(x) for x in losses]))


def top_k(candidates: np.ndarray, k: int) -> Callable[[np.ndarray], np.ndarray]:
    """Finds the highest scores in the matrix of all."""
    rows = tf.constant(candidates)

    @tf.function
    def best(queries: Any) -> Any:
        return tf.math.top_k(tf.matmul(queries, rows, transpose_b=True), k)

    def search(queries: np.ndarray) -> np.ndarray:
        scores, found = best(tf.constant(queries))
        found.numpy()
        result: np.ndarray = scores.numpy()
        return result

    return search
