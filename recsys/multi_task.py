"""Retrieval and rating in one model."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_multi.layers import (
    MLP,
    MultiGateMixtureOfExperts,
    UncertaintyWeights,
)
from recsys.two_tower import TwoTower

RETRIEVAL = "retrieval"
KINDS = ("regression", "binary")


@keras.saving.register_keras_serializable("recsys")
class MultiTaskRanker(TwoTower):
    """Two towers for retrieval, with heads that rate a user and an item.

    The towers serve all tasks. The vectors of both and their elementwise
    product go through experts that the rating tasks share, mixed by a gate
    of each task (Ma et al. 2018); with one expert this is a shared bottom.
    A perceptron of each task follows. The losses of all tasks and of the
    retrieval are added, with fixed weights or with weights that are learned
    from the uncertainty of each task (Kendall et al. 2018, section 3.2).

    Args:
        user_tower: as `TwoTower`.
        item_tower: as `TwoTower`.
        tasks: the kind of each task by its name: `"regression"` (loss: half
            the mean squared error) or `"binary"` (cross entropy of a logit).
        num_experts: number of experts.
        expert_units: width of each layer of an expert.
        head_units: width of each hidden layer of a task's perceptron.
        dropout: share of values set to zero in training, in the experts and
            heads.
        task_weights: weight of the loss of each task and of `"retrieval"`;
            learned if `None`.
        output_biases: constant that is added to the output of a task, by its
            name: the mean of a rating, or the log-odds of a click.
        **kwargs: further arguments of `TwoTower`.

    Call arguments:
        inputs: as `TwoTower`.
        training: whether dropout is active.

    The target of `fit` is a mapping with the id of each row's item under
    `"item_id"`, integers `(batch,)`, and the target of each task under its
    name, floats `(batch,)`.

    Returns:
        Mapping as `TwoTower` gives it, with the output of each task under its
        name, float32 of shape `(batch,)`.

    Raises:
        ValueError: if a task is of an unknown kind or has a reserved name,
            the weights are not those of the tasks and the retrieval, or as
            `TwoTower`.

    Example:
        >>> import numpy as np
        >>> from recsys.two_tower import Tower
        >>> model = MultiTaskRanker(Tower((10,)), Tower((20,)))
        >>> user = {"categorical": np.array([[3], [4]])}
        >>> item = {"categorical": np.array([[9], [7]])}
        >>> model({"user": user, "item": item})["rating"].shape
        (2,)

    References:
        - [Ma et al. 2018, Modeling Task Relationships in Multi-task Learning
          with Multi-gate Mixture-of-Experts](
          https://doi.org/10.1145/3219819.3220007), section 4.
        - [Kendall et al. 2018, Multi-Task Learning Using Uncertainty to Weigh
          Losses](https://arxiv.org/abs/1705.07115), section 3.2.
    """

    def __init__(
        self,
        user_tower: keras.layers.Layer,
        item_tower: keras.layers.Layer,
        tasks: Mapping[str, str] | None = None,
        num_experts: int = 1,
        expert_units: Sequence[int] = (64,),
        head_units: Sequence[int] = (),
        dropout: float = 0.0,
        task_weights: Mapping[str, float] | None = None,
        output_biases: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(user_tower, item_tower, **kwargs)
        tasks = {"rating": "regression"} if tasks is None else dict(tasks)
        reserved = {RETRIEVAL, "query", "candidate", "extra", "item_id"}
        if (
            not tasks
            or reserved & set(tasks)
            or set(tasks.values()) - set(KINDS)
        ):
            raise ValueError(
                f"`tasks` must give one of {KINDS} for each task, and no task "
                f"may be named like one of {sorted(reserved)}. "
                f"Received: tasks={tasks}"
            )
        # `torch.compile` can trace tuples, but nothing that Keras tracks.
        self.tasks = tuple(tasks.items())
        names = (RETRIEVAL, *tasks)
        if task_weights is not None and set(task_weights) != set(names):
            raise ValueError(
                f"`task_weights` must give a weight for each of {names}, or "
                f"be None. Received: task_weights={dict(task_weights)}"
            )
        self.task_weights = self.uncertainty = None
        if task_weights is None:
            self.uncertainty = UncertaintyWeights(dtype="float32")
        else:
            self.task_weights = tuple(float(task_weights[n]) for n in names)
        biases = dict(output_biases or {})
        self.output_biases = tuple(float(biases.get(n, 0.0)) for n in tasks)
        self.dropout_rate = dropout
        self.head_units = tuple(head_units)
        self.experts = MultiGateMixtureOfExperts(
            len(tasks),
            num_experts,
            expert_units,
            dropout=dropout,
            dtype=self.dtype_policy,
        )
        self.heads = [
            MLP(
                (*self.head_units, 1),
                dropout=dropout,
                dtype="float32",
                name=f"{name}_head",
            )
            for name in tasks
        ]

    def build(self, input_shape: Any) -> None:
        """Makes the weights of towers, experts and heads."""
        super().build(input_shape)
        width = self.user_tower.compute_output_shape(input_shape["user"])[-1]
        self.experts.build((None, 3 * width))
        for head in self.heads:
            head.build((None, self.experts.units[-1]))
        if self.uncertainty is not None:
            self.uncertainty.build((1 + len(self.tasks),))

    def call(
        self, inputs: Mapping[str, Any], training: bool | None = None
    ) -> dict[str, Any]:
        """Gives the vectors of both towers and the rating; see the class."""
        outputs = super().call(inputs, training=training)
        user, item = outputs["query"], outputs["candidate"]
        joined = ops.concatenate([user, item, user * item], axis=-1)
        mixed = self.experts(joined, training=training)  # (B, T, D)
        for i, (name, _) in enumerate(self.tasks):
            output = self.heads[i](mixed[:, i], training=training)
            output = ops.squeeze(output, axis=-1) + self.output_biases[i]
            outputs[name] = output
        return outputs

    def task_losses(
        self, x: Any, y: Mapping[str, Any], y_pred: Mapping[str, Any]
    ) -> Any:
        """Gives the mean loss of the retrieval and of each task.

        Args:
            x: the inputs of `call`.
            y: the targets; see the class.
            y_pred: the outputs of `call`.

        Returns:
            Float32 tensor `(1 + tasks,)`.
        """
        losses = [ops.mean(self.row_losses(x, y["item_id"], y_pred))]
        for name, kind in self.tasks:
            target, output = ops.cast(y[name], "float32"), y_pred[name]
            if kind == "binary":
                rows = ops.softplus(output) - target * output
            else:
                rows = ops.square(output - target) / 2
            losses.append(ops.mean(rows))
        return ops.stack(losses)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Gives the weighted sum of all losses, with that of regularizers.

        Args:
            x: the inputs of `call`.
            y: the targets; see the class.
            y_pred: the outputs of `call`.
            sample_weight: not supported.
            training: not used.

        Raises:
            ValueError: if there are sample weights.
        """
        if sample_weight is not None:
            raise ValueError(
                "a multi-task model takes no sample weights. "
                f"Received: sample_weight={sample_weight}"
            )
        losses = self.task_losses(x, y, y_pred)
        if self.uncertainty is not None:
            total = self.uncertainty(losses)
        else:
            weights = ops.convert_to_tensor(self.task_weights, losses.dtype)
            total = ops.sum(weights * losses)
        return sum(self.losses, total)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        names = [name for name, _ in self.tasks]
        weights = self.task_weights
        return {
            **super().get_config(),
            "tasks": dict(self.tasks),
            "num_experts": self.experts.num_experts,
            "expert_units": self.experts.units,
            "head_units": self.head_units,
            "dropout": self.dropout_rate,
            "task_weights": (
                None
                if weights is None
                else dict(zip((RETRIEVAL, *names), weights, strict=True))
            ),
            "output_biases": dict(zip(names, self.output_biases, strict=True)),
        }
