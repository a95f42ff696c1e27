"""Experts shared by several tasks, with one gate a task."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_multi.layers.feature_cross import Shape, clone_initializer
from keras_multi.layers.mlp import MLP


@keras.saving.register_keras_serializable("keras_multi")
class MultiGateMixtureOfExperts(keras.layers.Layer):
    """Multi-gate mixture of experts (MMoE), for models with several tasks.

    Task k gets `f_k(x) = sum_i g_k(x)_i f_i(x)` (Eq. 6): the experts `f_i`
    are perceptrons that all tasks share, the gate `g_k(x) = softmax(W_k x)`
    is its own (Eq. 7). What the paper calls the tower of a task (Eq. 5)
    follows outside. One expert needs no gates: it is the shared bottom
    (Eq. 1).

    Args:
        num_tasks: number of tasks, each with a gate.
        num_experts: number of experts.
        units: width of each layer of an expert.
        activation: activation of all layers of the experts.
        dropout: share of hidden values of the experts set to zero in
            training, in [0, 1).
        kernel_initializer: initializer of all matrices.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor `(batch, dim)`.
        training: whether dropout is active.

    Returns:
        Float tensor `(batch, num_tasks, units[-1])`.

    Raises:
        ValueError: if a number is below 1, or as `MLP`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import MultiGateMixtureOfExperts
        >>> layer = MultiGateMixtureOfExperts(2, num_experts=4, units=[8])
        >>> layer(np.ones((3, 5), "float32")).shape
        (3, 2, 8)

    References:
        - [Ma et al. 2018, Modeling Task Relationships in Multi-task Learning
          with Multi-gate Mixture-of-Experts](
          https://doi.org/10.1145/3219819.3220007), section 4, Eq. 5 to 7.
    """

    def __init__(
        self,
        num_tasks: int,
        num_experts: int,
        units: Sequence[int],
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_tasks < 1 or num_experts < 1:
            raise ValueError(
                "`num_tasks` and `num_experts` must be at least 1. Received: "
                f"num_tasks={num_tasks}, num_experts={num_experts}"
            )
        self.num_tasks = num_tasks
        self.num_experts = num_experts
        self.units = tuple(units)
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.experts = [
            MLP(
                self.units,
                self.activation,
                final_activation=self.activation,
                dropout=dropout,
                kernel_initializer=self.kernel_initializer,
                name=f"expert_{i}",
                dtype=self.dtype_policy,
            )
            for i in range(num_experts)
        ]

    def build(self, input_shape: Shape) -> None:
        for expert in self.experts:
            expert.build(input_shape)
        if self.num_experts > 1:
            self.gate_kernel = self.add_weight(
                name="gate_kernel",
                shape=(input_shape[-1], self.num_tasks * self.num_experts),
                initializer=clone_initializer(self.kernel_initializer),
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        experts = ops.stack(
            [expert(inputs, training=training) for expert in self.experts],
            axis=1,
        )  # (B, E, D)
        if self.num_experts == 1:
            return ops.repeat(experts, self.num_tasks, axis=1)
        logits = ops.matmul(inputs, self.gate_kernel)
        shape = (-1, self.num_tasks, self.num_experts)
        gates = ops.softmax(ops.reshape(logits, shape))  # (B, T, E)
        return ops.matmul(gates, experts)  # (B, T, D)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.num_tasks, self.units[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "num_experts": self.num_experts,
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }
