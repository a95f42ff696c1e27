"""Training steps of a two-tower retrieval model, softmax over the batch."""

import importlib

import numpy as np

from benchmarks.dcn import (
    NATIVE_PRECISIONS,
    TRAINING_OUTPUT_STEPS,
    KerasTraining,
    NativeModel,
)
from benchmarks.results import Cost
from benchmarks.two_tower import Pairs, Towers, keras_model
from benchmarks.workload import Contender, Setting, Workload
from keras_multi import backend


class RetrievalTraining(Workload):
    """Two towers of one size, on pairs with popular items.

    Args:
        towers: size of the model.
        batch_sizes: the batch sizes that are measured.
    """

    output_steps = TRAINING_OUTPUT_STEPS

    def __init__(self, towers: Towers, batch_sizes: tuple[int, ...]) -> None:
        self.towers, self.batch_sizes = towers, batch_sizes

    def steps(self, batch_size: int) -> int:
        """Fewer for large batches."""
        return min(max(16384 // batch_size, 2), 16)

    def cost(self, batch_size: int) -> Cost:
        """Counts a step."""
        return self.towers.cost(batch_size)

    def pairs(self, setting: Setting) -> Pairs:
        """Random users with Zipf-distributed items, so that some repeat."""
        rng = np.random.default_rng(1)
        rows = setting.batch_size * 2 * self.steps(setting.batch_size)
        chance = 1 / np.arange(1, self.towers.num_items + 1)
        items = rng.choice(self.towers.num_items, rows, p=chance / chance.sum())
        users = rng.integers(0, self.towers.num_users, rows)
        return Pairs(np.stack([users, items], axis=1).astype("int32"))

    def build(self, setting: Setting) -> Contender:
        """The model on shared layers."""
        model = keras_model(self.towers, setting)
        return KerasTraining(model, self.pairs(setting), setting)

    def native(self, setting: Setting) -> Contender | None:
        """The model written by hand for this backend."""
        if setting.precision not in NATIVE_PRECISIONS:
            return None
        module = importlib.import_module(
            f"benchmarks.workloads.native.{backend.name()}"
        )
        model = module.TwoTower(self.towers, setting)
        return NativeModel(model, self.pairs(setting), setting, training=True)


WORKLOAD = RetrievalTraining(
    Towers(
        num_users=20_000, num_items=20_000, embedding_dim=32, units=(64, 32)
    ),
    batch_sizes=(1024,),
)
