"""A user's model: built, and given data to run on."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_multi.errors import UsageError
from keras_multi.portability import synthetic
from keras_multi.portability.source import RAISED, BuildFunction, where


@dataclass(frozen=True)
class Subject:
    """A built model, and examples to run it on.

    Attributes:
        model: the model, compiled if it can be trained.
        inputs: nested NumPy arrays with the same number of rows, the first
            argument of the model.
        targets: nested NumPy arrays with as many rows; `None` if the model
            can only predict.
    """

    model: keras.Model
    inputs: Any
    targets: Any = None

    def rows(self, count: int) -> tuple[Any, Any]:
        """Inputs and targets with `count` rows; the examples come again."""
        return _repeated(self.inputs, count), _repeated(self.targets, count)


def make(
    build: BuildFunction, rows: int = 32, name: str = "the function"
) -> Subject:
    """Calls the user's function and completes what it leaves out.

    Inputs that are not given are drawn from the model's input specification,
    targets of a compiled model from its outputs and loss. A model that comes
    with targets but is not compiled is compiled with Adam and the loss that
    fits them.

    Args:
        build: returns a Keras model, or `(model, inputs)`, or
            `(model, inputs, targets)`.
        rows: number of examples to draw.
        name: what messages call the function.

    Raises:
        UsageError: if it raises, returns something else, or the inputs
            cannot be drawn.

    Example:
        >>> import keras
        >>> from keras_multi.portability import subject
        >>> def build():
        ...     return keras.Sequential(
        ...         [keras.Input((4,)), keras.layers.Dense(2)]
        ...     )
        >>> subject.make(build, rows=8).inputs.shape
        (8, 4)
    """
    model, inputs, targets = _call(build, name)
    if inputs is None:
        inputs = synthetic.inputs(model, rows)
    inputs = tree.map_structure(_as_array, inputs)
    if targets is not None:
        targets = tree.map_structure(_as_array, targets)
    _check_rows(inputs, targets, name)
    few = _repeated(inputs, min(2, _length(inputs)))
    try:
        outputs = model(few, training=False)
    except RAISED as error:
        raise UsageError(
            f"the model of {name} cannot be called on inputs of shape "
            f"{_shapes(inputs)}: {where(error, _file(build))}"
        ) from error
    if targets is not None and not model.compiled:
        synthetic.compile_for(model, outputs, targets)
    if targets is None and synthetic.has_loss(model):
        targets = synthetic.targets(model, outputs, _length(inputs))
    return Subject(model, inputs, targets)


def _file(build: BuildFunction) -> Path | None:
    try:
        file = inspect.getsourcefile(build)
    except TypeError:
        return None
    return Path(file) if file else None


def _call(build: BuildFunction, name: str) -> tuple[keras.Model, Any, Any]:
    try:
        made = build()
    except RAISED as error:
        raise UsageError(
            f"{name} raised {where(error, _file(build))}"
        ) from error
    parts = made if isinstance(made, tuple) else (made,)
    if not (1 <= len(parts) <= 3 and isinstance(parts[0], keras.layers.Layer)):
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise UsageError(
            f"{name} must return a Keras model, (model, inputs) or "
            f"(model, inputs, targets). Received: {kinds}"
        )
    model, inputs, targets = (*parts, None, None)[:3]
    if not isinstance(model, keras.Model):
        model = keras.Sequential([model])
    return model, inputs, targets


def _as_array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == object and all(isinstance(x, str) for x in array.flat):
        return array.astype(str)
    return array.astype("float32") if array.dtype == "float64" else array


def _length(data: Any) -> int:
    return len(tree.flatten(data)[0])


def _shapes(data: Any) -> Any:
    return tree.map_structure(lambda a: tuple(a.shape), data)


def _check_rows(inputs: Any, targets: Any, name: str) -> None:
    arrays = [*tree.flatten(inputs), *tree.flatten(targets)]
    arrays = [array for array in arrays if array is not None]
    if any(array.ndim == 0 or not len(array) for array in arrays):
        raise UsageError(
            f"inputs and targets of {name} need a batch axis with at least "
            f"one row. Received shapes: {[a.shape for a in arrays]}"
        )
    if len({len(array) for array in arrays}) != 1:
        raise UsageError(
            f"inputs and targets of {name} need equal numbers of rows. "
            f"Received shapes: {[a.shape for a in arrays]}"
        )


def _repeated(data: Any, count: int) -> Any:
    if data is None:
        return None
    return tree.map_structure(lambda a: a[np.arange(count) % len(a)], data)
