"""Whole epochs of a DCN on the 80,000 training ratings of MovieLens 100K.

A step is an epoch: `Model.fit` with all that comes with it, the last,
smaller batch too.
"""

from functools import cached_property

import keras
import numpy as np

from benchmarks.dcn import (
    Batches,
    NativeModel,
    Shape,
    keras_model,
    native_contender,
)
from benchmarks.results import Cost
from benchmarks.workload import Contender, Setting, Workload


class MovieLensEpoch(Workload):
    """An epoch at one batch size."""

    batch_sizes = (2048,)

    @cached_property
    def _data(self) -> tuple[Shape, Batches]:
        from recsys.data import load, task

        train = load("movielens-100k").train
        features = task("movielens-100k").features().fit(train)
        inputs = features.transform(train)
        shape = Shape(
            vocabulary_sizes=tuple(features.vocabulary_sizes),
            num_dense=0,
            embedding_dim=16,
            num_cross_layers=2,
            deep_units=(64, 64),
            binary=False,
        )
        dense = np.zeros((len(train), 0), "float32")
        targets = train[train.target].astype("float32")[:, None]
        return shape, Batches(inputs["categorical"], dense, targets)

    def steps(self, batch_size: int) -> int:
        """One epoch is long enough."""
        return 1

    def work(self, batch_size: int) -> float:
        """Ratings in an epoch."""
        return len(self._data[1].ids)

    def cost(self, batch_size: int) -> Cost:
        """Counts an epoch, the last, smaller batch too."""
        shape, batches = self._data
        rows = len(batches.ids)
        return shape.cost(rows, -(-rows // batch_size), training=True)

    def build(self, setting: Setting) -> Contender:
        """The project's DCN in `Model.fit`."""
        shape, batches = self._data
        return _KerasEpoch(keras_model(shape, setting), batches, setting)

    def native(self, setting: Setting) -> Contender | None:
        """The DCN and its loop written by hand for this backend."""
        shape, batches = self._data
        contender = native_contender(shape, batches, setting, training=True)
        return contender and _NativeEpoch(contender, batches, setting)


class _KerasEpoch(Contender):
    def __init__(
        self, model: keras.Model, batches: Batches, setting: Setting
    ) -> None:
        self.model, self.batches = model, batches
        self.batch_size = setting.batch_size

    def output(self) -> np.ndarray:
        """Mean loss of an epoch."""
        history = self.model.fit(
            {"categorical": self.batches.ids},
            self.batches.targets,
            batch_size=self.batch_size,
            shuffle=False,
            verbose=0,
        )
        return np.array(history.history["loss"])

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.output()


class _NativeEpoch(Contender):
    def __init__(
        self, native: NativeModel, batches: Batches, setting: Setting
    ) -> None:
        self.model, self.batches = native.model, batches
        starts = range(0, len(batches.ids), setting.batch_size)
        self.slices = [slice(s, s + setting.batch_size) for s in starts]

    def output(self) -> np.ndarray:
        """Mean loss of an epoch."""
        return np.array([self.model.fit(self.batches, self.slices)])

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.output()


WORKLOAD = MovieLensEpoch()
