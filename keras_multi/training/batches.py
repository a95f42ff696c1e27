"""Shuffled mini-batches, the same ones on every backend."""

import math
from typing import Any

import keras
import numpy as np

from keras_multi.errors import DataError, UsageError


class Batches(keras.utils.PyDataset):
    """Mini-batches whose order depends on the seed and the epoch alone.

    Epoch `e` visits the rows in the order
    `numpy.random.default_rng([seed, e]).permutation(rows)`. So all backends
    see the same batches, and so does a run that starts again at epoch `e`.
    Every row is visited once per epoch; the last batch may be smaller.

    Args:
        data: nested structure of arrays with the rows on the first axis,
            for instance `(x, y)` or `({"a": xa, "b": xb}, y, weights)`.
        batch_size: rows per batch, at least 1.
        seed: seed of the row order, a non-negative integer.

    Raises:
        DataError: if there are no rows or the arrays differ in their number.
        UsageError: if `batch_size` is below 1 or `seed` is negative.

    Example:
        >>> import numpy as np
        >>> batches = Batches((np.arange(5), np.arange(5)), 2, seed=0)
        >>> batches.start_epoch(3)
        >>> [len(x) for x, y in batches]
        [2, 2, 1]
    """

    def __init__(self, data: Any, batch_size: int, seed: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise UsageError(
                f"batch_size must be at least 1. Received: {batch_size}"
            )
        if seed < 0:
            raise UsageError(f"seed must not be negative. Received: {seed}")
        self.data = keras.tree.map_structure(np.asarray, data)
        self.rows = count_rows(self.data)
        self.batch_size = batch_size
        self.seed = seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draws the row order of an epoch, counted from 0."""
        generator = np.random.default_rng([self.seed, epoch])
        self._order = generator.permutation(self.rows)

    def __len__(self) -> int:
        return math.ceil(self.rows / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        start = index * self.batch_size
        rows = self._order[start : start + self.batch_size]
        return keras.tree.map_structure(lambda array: array[rows], self.data)


def count_rows(data: Any) -> int:
    """Counts the rows of a nested structure of arrays.

    Raises:
        DataError: if there are none or the arrays differ in their number.
    """
    counts = {len(array) for array in keras.tree.flatten(data)}
    if len(counts) > 1:
        raise DataError(
            "inputs, targets and weights must have the same number of rows. "
            f"Received: {', '.join(map(str, sorted(counts)))} rows"
        )
    rows = counts.pop() if counts else 0
    if not rows:
        raise DataError("the data have no rows; give at least one")
    return rows
