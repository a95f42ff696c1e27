"""Latency of a ranker: one user's candidates scored by the DCN of `dcn_train`.

A step is a request; the scores are on the host before the next one starts.
"""

from abc import abstractmethod
from typing import Any

import keras
import numpy as np

from benchmarks.dcn import (
    PREDICTION_OUTPUT_ROWS,
    Batches,
    DCNWorkload,
    keras_model,
    native_contender,
)
from benchmarks.workload import Contender, Setting, Steps
from benchmarks.workloads.dcn_train import CRITEO_LIKE
from keras_multi import backend

USER_COLUMNS = 10


class RankerServing(DCNWorkload):
    """Requests with as many candidates as the batch has rows."""

    unit = "requests"

    def work(self, batch_size: int) -> float:
        """One request."""
        return 1

    def steps(self, batch_size: int) -> int:
        """Fewer for many candidates."""
        return min(max(8192 // batch_size, 2), 32)

    def batches(self, setting: Setting) -> Batches:
        """Candidates of random users; the first columns are the user's."""
        batches = super().batches(setting)
        owner = np.arange(len(batches.ids))
        owner -= owner % setting.batch_size
        ids = batches.ids.copy()
        ids[:, :USER_COLUMNS] = ids[owner, :USER_COLUMNS]
        return Batches(ids, batches.dense, batches.targets)

    def build(self, setting: Setting) -> Contender:
        """The project's DCN, called for each request."""
        model = keras_model(self.shape, setting)
        return _KerasServing(model, self.batches(setting), setting)

    def native(self, setting: Setting) -> Contender | None:
        """The DCN written by hand for this backend."""
        batches = self.batches(setting)
        found = native_contender(self.shape, batches, setting, training=False)
        return found and _NativeServing(found.model, batches, setting)

    def peers(self, setting: Setting) -> dict[str, Contender]:
        """None."""
        return {}


class _Serving(Contender):
    def __init__(self, model: Any, batches: Batches, setting: Setting) -> None:
        self.model, self.batches = model, batches
        self.steps = Steps(
            setting.batch_size, len(batches.ids) // setting.batch_size
        )

    @abstractmethod
    def answer(self, rows: slice) -> np.ndarray:
        """Logits `(candidates, 1)` of a request."""

    def output(self) -> np.ndarray:
        """Logits of the first request."""
        return self.answer(self.steps.take(1))[:PREDICTION_OUTPUT_ROWS, 0]

    def run(self, steps: int) -> None:
        """Answers one request after the other."""
        for _ in range(steps):
            self.answer(self.steps.take(1))


class _KerasServing(_Serving):
    def __init__(
        self, model: keras.Model, batches: Batches, setting: Setting
    ) -> None:
        super().__init__(model, batches, setting)
        self.score = backend.inference(
            backend.jit(lambda inputs: model(inputs), setting.mode)
        )

    def answer(self, rows: slice) -> np.ndarray:
        inputs = keras.tree.map_structure(
            keras.ops.convert_to_tensor, self.batches.inputs(rows)
        )
        scores: np.ndarray = keras.ops.convert_to_numpy(self.score(inputs))
        return scores


class _NativeServing(_Serving):
    def answer(self, rows: slice) -> np.ndarray:
        scores: np.ndarray = self.model.predict(self.batches, [rows])
        return scores


WORKLOAD = RankerServing(CRITEO_LIKE, batch_sizes=(100, 1000), training=False)
