"""A user's model: found in a file, built, and given data to run on."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_multi.errors import UsageError
from keras_multi.portability import synthetic

BuildFunction = Callable[[], Any]


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


def find(reference: str) -> BuildFunction:
    """Imports the function that a command line names.

    Args:
        reference: `FILE.py:FUNCTION`. The file may import its neighbours.

    Returns:
        The function, which takes no argument.

    Raises:
        UsageError: if the file or the function is not there, or the file
            cannot be imported; the message says why, with the line.

    Example:
        >>> from keras_multi.portability import subject
        >>> build = subject.find("my_model.py:build")  # doctest: +SKIP
    """
    path, name = split(reference)
    module = _import(path)
    function = getattr(module, name, None)
    if not callable(function):
        found = ", ".join(
            n
            for n, f in vars(module).items()
            if inspect.isfunction(f) and f.__module__ == module.__name__
        )
        raise UsageError(
            f"{str(path)!r} has no function {name!r}; "
            f"it has {found or 'no function'}"
        )
    function_found: BuildFunction = function
    return function_found


def split(reference: str) -> tuple[Path, str]:
    """Takes `FILE.py:FUNCTION` apart.

    Raises:
        UsageError: if it is not of this form, or there is no such file.
    """
    file, colon, name = reference.rpartition(":")
    if not (colon and file.endswith(".py") and name.isidentifier()):
        raise UsageError(
            "a model is named FILE.py:FUNCTION, such as my_model.py:build. "
            f"Received: {reference}"
        )
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"there is no file {file!r}")
    return path, name


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
    except Exception as error:
        raise UsageError(
            f"the model of {name} cannot be called on inputs of shape "
            f"{_shapes(inputs)}: {_where(error)}"
        ) from error
    if targets is not None and not model.compiled:
        synthetic.compile_for(model, outputs, targets)
    if targets is None and model.compiled:
        targets = synthetic.targets(model, outputs, _length(inputs))
    return Subject(model, inputs, targets)


def _call(build: BuildFunction, name: str) -> tuple[keras.Model, Any, Any]:
    try:
        made = build()
    except Exception as error:
        raise UsageError(f"{name} raised {_where(error)}") from error
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


def _import(path: Path) -> ModuleType:
    name = f"user_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(
            f"{str(path)!r} is not Python: line {error.lineno}: {error.msg}"
        ) from error
    except Exception as error:
        raise UsageError(
            f"importing {str(path)!r} raised {_where(error)}"
        ) from error
    return module


def _where(error: Exception) -> str:
    """The error in one line, with the place in the user's code."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename
        and "keras_multi" not in Path(frame.filename).parts
        and not frame.filename.startswith("<")
    ]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}{place}: {message[:300]}"


def _as_array(value: Any) -> np.ndarray:
    array = np.asarray(value)
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
