"""A two-tower retrieval model to be trained, and its Keras contender."""

import itertools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.dcn import EPSILON, LEARNING_RATE
from benchmarks.results import Cost
from benchmarks.workload import Setting
from keras_multi import optimizers
from keras_multi.layers import MLP, Embedding
from keras_multi.losses import in_batch_softmax

TEMPERATURE = 0.1


@dataclass(frozen=True)
class Towers:
    """Size of a two-tower model.

    Attributes:
        num_users: rows of the table of users.
        num_items: rows of the table of items.
        embedding_dim: width of both tables.
        units: widths of the layers of either tower, the vector's last.
    """

    num_users: int
    num_items: int
    embedding_dim: int
    units: tuple[int, ...]

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Shapes of the matrices of one tower."""
        return list(itertools.pairwise([self.embedding_dim, *self.units]))

    def cost(self, batch_size: int) -> Cost:
        """Counts a training step.

        Operations: each matrix of both towers, and the product of all pairs
        in the batch, once forward and twice back. Bytes: ids, and each weight
        and both of its moments in Adam, read and written; the gradients of
        the tables are dense.
        """
        tower = sum(before * after for before, after in self.matrices)
        products = batch_size * batch_size * self.units[-1]
        tables = (self.num_users + self.num_items) * self.embedding_dim
        dense = sum((before + 1) * after for before, after in self.matrices)
        return Cost(
            operations=3 * 2.0 * (2 * batch_size * tower + products),
            bytes=4.0 * (2 * batch_size + 2 * 3 * (tables + 2 * dense)),
            source="workload",
        )

    def weights(self) -> list[np.ndarray]:
        """Start weights from a fixed seed: the users' tower, then the items'.

        A tower is its table, and a matrix and a bias for each layer.
        """
        rng = np.random.default_rng(0)
        weights = []
        for rows in (self.num_users, self.num_items):
            weights.append(rng.uniform(-0.5, 0.5, (rows, self.embedding_dim)))
            for before, after in self.matrices:
                limit = (6 / (before + after)) ** 0.5
                weights.append(rng.uniform(-limit, limit, (before, after)))
                weights.append(np.zeros(after))
        return [w.astype("float32") for w in weights]


@dataclass(frozen=True)
class Pairs:
    """A user and an item in each row, in the order of training."""

    ids: np.ndarray

    def inputs(self, rows: slice) -> dict[str, np.ndarray]:
        """The model's inputs for some rows."""
        return {"user_id": self.ids[rows, 0], "item_id": self.ids[rows, 1]}

    @property
    def targets(self) -> np.ndarray:
        """Not used: a row's own item is its target."""
        return np.zeros(len(self.ids), "float32")


class TwoTower(keras.Model):
    """Two towers, trained by softmax over the items of the batch.

    Args:
        towers: the sizes.
        embedding: the layer of both tables, called with rows and width.
        **kwargs: arguments of `keras.Model`.
    """

    def __init__(
        self, towers: Towers, embedding: Any = Embedding, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        width = towers.embedding_dim
        self.users = embedding(towers.num_users, width, dtype=policy)
        self.user_layers = MLP(towers.units, dtype=policy)
        self.items = embedding(towers.num_items, width, dtype=policy)
        self.item_layers = MLP(towers.units, dtype=policy)

    def user_tower(self, ids: Any) -> Any:
        """Vectors of users `(B, D)`."""
        return self.user_layers(self.users(ids))

    def item_tower(self, ids: Any) -> Any:
        """Vectors of items `(B, D)`."""
        return self.item_layers(self.items(ids))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Vectors of users and items `(B, 2, D)`."""
        users = self.user_tower(inputs["user_id"])
        items = self.item_tower(inputs["item_id"])
        return ops.stack([users, items], axis=1)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Mean cross entropy of each row's item among those of the batch."""
        losses = in_batch_softmax(
            y_pred[:, 0],
            y_pred[:, 1],
            candidate_ids=x["item_id"],
            temperature=TEMPERATURE,
        )
        return ops.mean(losses)


def keras_model(towers: Towers, setting: Setting) -> keras.Model:
    """The model on shared layers, compiled, with the start weights."""
    model = TwoTower(towers, dtype=setting.precision)
    one = np.zeros(1, "int32")
    model({"user_id": one, "item_id": one})
    model.set_weights(towers.weights())
    model.compile(
        optimizers.Adam(LEARNING_RATE, epsilon=EPSILON),
        jit_compile=setting.mode in ("xla", "compile"),
    )
    return model
