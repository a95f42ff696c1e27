"""`Model.fit` on consecutive batches of arrays."""

import math
from typing import Any

import keras
import numpy as np

from keras_multi.training import feed


class _Consecutive(keras.utils.PyDataset):
    """Batches of arrays in their order; others can take their place."""

    def __init__(self, data: Any, batch_size: int) -> None:
        super().__init__()
        self.data, self.batch_size = data, batch_size

    def __len__(self) -> int:
        rows = len(keras.tree.flatten(self.data)[0])
        return math.ceil(rows / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        start = index * self.batch_size
        rows = slice(start, start + self.batch_size)
        return keras.tree.map_structure(lambda x: x[rows], self.data)


class Trainer:
    """Trains a model as this project does, on some batches a call.

    What feeds the model is made once for each number of batches, as for all
    epochs of a training.

    Args:
        model: compiled.
        batch_size: rows of a batch.
    """

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self._model, self._batch_size = model, batch_size
        self._fed: dict[int, tuple[_Consecutive, Any]] = {}

    def __call__(self, inputs: Any, targets: np.ndarray) -> float:
        """Trains on each row once; gives the mean loss."""
        data = inputs, targets
        rows = len(targets)
        if rows not in self._fed:
            batches = _Consecutive(data, self._batch_size)
            self._fed[rows] = batches, feed(batches)
        batches, fed = self._fed[rows]
        batches.data = data
        history = self._model.fit(fed, shuffle=False, verbose=0)
        return float(history.history["loss"][0])
