"""GPT-2 in plain TensorFlow: `tf.function`, a tape, and the fused Adam op."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.gpt2 import Size, Texts
from benchmarks.workload import Setting
from benchmarks.workloads.native.tensorflow import adam


class GPT2:
    """Variables, optimizer state, and the compiled step."""

    def __init__(self, size: Size, setting: Setting) -> None:
        mixed = setting.precision == "mixed_bfloat16"
        dtype = tf.bfloat16 if mixed else tf.float32
        params = {name: tf.Variable(w) for name, w in size.weights().items()}
        variables = list(params.values())
        update = adam(variables)
        head_dim = size.hidden_dim // size.num_heads

        def linear(x: Any, name: str) -> Any:
            kernel = tf.cast(params[f"{name}.weight"], dtype)
            flat = tf.reshape(x, (-1, kernel.shape[0])) @ kernel
            flat = tf.nn.bias_add(flat, tf.cast(params[f"{name}.bias"], dtype))
            return tf.reshape(flat, (*x.shape[:2], kernel.shape[1]))

        def norm(x: Any, name: str) -> Any:
            x = tf.cast(x, tf.float32)
            mean, variance = tf.nn.moments(x, axes=-1, keepdims=True)
            scale, shift = params[f"{name}.weight"], params[f"{name}.bias"]
            x = tf.nn.batch_normalization(x, mean, variance, shift, scale, 1e-5)
            return tf.cast(x, dtype)

        def attend(qkv: Any) -> Any:
            batch, length, _ = qkv.shape
            heads = (batch, length, 3, size.num_heads, head_dim)
            q, k, v = tf.unstack(
                tf.transpose(tf.reshape(qkv, heads), (2, 0, 3, 1, 4))
            )
            scores = tf.matmul(q * head_dim**-0.5, k, transpose_b=True)
            scores = tf.cast(scores, tf.float32)
            seen = tf.linalg.band_part(
                tf.ones((length, length), tf.bool), -1, 0
            )
            scores = tf.where(seen, scores, scores.dtype.min)
            mixed = tf.cast(tf.nn.softmax(scores), dtype) @ v
            return tf.reshape(
                tf.transpose(mixed, (0, 2, 1, 3)), (batch, length, -1)
            )

        def forward(ids: Any) -> Any:
            table = tf.cast(params["wte.weight"], dtype)
            positions = tf.cast(params["wpe.weight"][: ids.shape[1]], dtype)
            x = tf.gather(table, ids) + positions
            for i in range(size.num_layers):
                block = f"h.{i}"
                qkv = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn")
                x = x + linear(attend(qkv), f"{block}.attn.c_proj")
                hidden = linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc")
                hidden = tf.nn.gelu(hidden, approximate=True)
                x = x + linear(hidden, f"{block}.mlp.c_proj")
            flat = tf.reshape(norm(x, "ln_f"), (-1, size.hidden_dim))
            logits = tf.matmul(flat, table, transpose_b=True)
            return tf.cast(logits, tf.float32)

        @tf.function(jit_compile=setting.mode == "xla")
        def step(ids: Any, targets: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(
                        tf.reshape(targets, (-1,)), forward(ids)
                    )
                )
            update(tape.gradient(loss, variables))
            return loss

        self._step = step

    def fit(self, texts: Texts, slices: Sequence[slice]) -> float:
        """Trains on some batches; gives their mean loss."""
        losses = [
            self._step(texts.inputs(rows), texts.targets[rows])
            for rows in slices
        ]
        return float(np.mean([float(x) for x in losses]))
