"""A model that infers faster, and gives what it gave before."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from keras.src.trainers.data_adapters import get_data_adapter

from keras_multi.errors import UsageError
from keras_multi.inference.report import Report

OFTEN = 8  # calls with a batch size after which it gets its own program
Run = Callable[[Any], Any]


class OptimizedModel:
    """A model with the fastest program that was found for it.

    It is called like the model, and has its `predict` and
    `predict_on_batch`. It has copies of the weights that it laid out anew:
    after the model was trained or loaded, optimize it anew. Inputs that
    differ from the sample in more than the number of rows run the model as
    Keras does.

    Where programs are compiled for a shape, a batch of a new size is filled
    up with copies of its last row to the next power of two, or to a size that
    is compiled, until it has come `OFTEN` times. That is only done with
    models whose rows were found not to depend on each other.

    Attributes:
        model: the model, which is as it was.
        report: what was done, and what it gained.
    """

    def __init__(
        self,
        model: keras.Model,
        report: Report,
        run: Run | None,
        sample: Any,
        pads: bool,
    ) -> None:
        self.model, self.report = model, report
        self._run = run
        self._shapes = _row_shapes(sample)
        self._pads = pads
        self._sizes = {report.batch_size}
        self._calls: Counter[int] = Counter()

    def __call__(self, inputs: Any, training: bool | None = None) -> Any:
        """Computes the outputs of a batch.

        Args:
            inputs: arrays or tensors in the structure of the model's inputs.
            training: must not be true.

        Returns:
            Tensors in the structure of the model's outputs.

        Raises:
            UsageError: if `training` is true.
        """
        if training:
            raise UsageError(
                "an optimized model does not train; call its `model` with "
                f"training={training}"
            )
        if self._run is None or _row_shapes(inputs) != self._shapes:
            return self.model(inputs, training=False)
        rows = count_rows(inputs)
        size = self._size(rows)
        if size == rows:
            return self._run(inputs)
        index = np.minimum(np.arange(size), rows - 1)
        filled = tree.map_structure(
            lambda x: ops.take(x, index, axis=0), inputs
        )
        return tree.map_structure(lambda y: y[:rows], self._run(filled))

    def _size(self, rows: int) -> int:
        """The number of rows that a batch is filled up to."""
        self._calls[rows] += 1
        if not self._pads or rows in self._sizes:
            return rows
        if self._calls[rows] > OFTEN:
            self._sizes.add(rows)
            return rows
        power = 1 << (rows - 1).bit_length()
        size = min(x for x in (*self._sizes, power) if x >= rows)
        self._sizes.add(size)
        return size

    def predict_on_batch(self, x: Any) -> Any:
        """Computes the outputs of a batch as NumPy arrays."""
        if self._run is None or _row_shapes(x) != self._shapes:
            return self.model.predict_on_batch(x)
        return tree.map_structure(ops.convert_to_numpy, self(x))

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        steps: int | None = None,
    ) -> Any:
        """Computes the outputs of many rows, batch by batch.

        Args:
            x: arrays in the structure of the model's inputs, or what yields
                batches, as `keras.Model.predict` takes it.
            batch_size: rows in a batch of the arrays; 32 by default.
            verbose: as in `keras.Model.predict`; there is no progress bar.
            steps: number of batches; all by default.

        Returns:
            NumPy arrays in the structure of the model's outputs.

        Raises:
            UsageError: if there are no rows or `batch_size` is not positive.
        """
        batch_size = 32 if batch_size is None else batch_size
        if batch_size < 1:
            raise UsageError(
                f"batch_size must be at least 1. Received: {batch_size}"
            )
        batches = itertools.islice(_parts(x, batch_size), steps)
        parts = [self.predict_on_batch(part) for part in batches]
        if not parts:
            raise UsageError("there are no rows to predict")
        return tree.map_structure(lambda *rows: np.concatenate(rows), *parts)

    def undo(self) -> keras.Model:
        """Lets go of the program and its weights.

        Returns:
            The model. This object goes on to run it as Keras does.
        """
        self._run = None
        return self.model


def count_rows(inputs: Any) -> int:
    """Number of rows of a batch."""
    return int(tree.flatten(inputs)[0].shape[0])


def _row_shapes(inputs: Any) -> list[tuple[int, ...]]:
    return [tuple(np.shape(x)[1:]) for x in tree.flatten(inputs)]


def _parts(x: Any, batch_size: int) -> Iterable[Any]:
    """Batches of arrays, or those of what yields batches."""
    if not hasattr(tree.flatten(x)[0], "shape"):
        for batch in get_data_adapter(x).get_numpy_iterator():
            yield keras.utils.unpack_x_y_sample_weight(batch)[0]
        return
    for start in range(0, count_rows(x), batch_size):
        rows = slice(start, start + batch_size)
        yield tree.map_structure(lambda a, rows=rows: a[rows], x)
