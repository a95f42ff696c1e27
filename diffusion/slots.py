"""How the tensors of files lie in the variables of models.

Files keep the layouts of PyTorch: a matrix as `(outputs, inputs)`, a
convolution as `(outputs, inputs, height, width)`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_multi.errors import DataError

Slots = dict[str, "Slot"]


@dataclass(frozen=True)
class Slot:
    """The place of a tensor of a file: a variable, or some of its columns.

    Attributes:
        variable: the variable.
        pointwise: whether files keep the matrix as a convolution of size 1.
            Both are read.
        columns: which columns of the last axis; all if `None`.
    """

    variable: keras.Variable
    pointwise: bool = False
    columns: tuple[int, int] | None = None

    @property
    def own_shape(self) -> tuple[int, ...]:
        """Shape of the tensor in the layout of the model."""
        shape = tuple(self.variable.shape)
        if self.columns is None:
            return shape
        first, last = self.columns
        return (*shape[:-1], last - first)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor in a file."""
        shape = self.own_shape
        if len(shape) == 4:
            height, width, inputs, outputs = shape
            return outputs, inputs, height, width
        if len(shape) == 2 and not self._is_table:
            return (*shape[::-1], 1, 1) if self.pointwise else shape[::-1]
        return shape

    @property
    def _is_table(self) -> bool:
        return bool(self.variable.name == "embeddings")

    def fits(self, array: np.ndarray) -> bool:
        """Tells whether a tensor has the right shape."""
        shape = self.shape
        shapes = {shape}
        if len(self.own_shape) == 2 and not self._is_table:
            shapes |= {shape[:2], (*shape[:2], 1, 1)}
        return array.shape in shapes

    def to_model(self, array: np.ndarray) -> np.ndarray:
        """Gives the tensor of a file in the layout of the model."""
        if len(self.own_shape) == 4:
            return array.transpose(2, 3, 1, 0)
        if len(self.own_shape) == 2 and not self._is_table:
            return array.reshape(array.shape[:2]).T
        return array

    def read(self) -> np.ndarray:
        """Gives the tensor as it is now, in the layout of files, float32."""
        array = to_numpy(self.variable)
        if self.columns is not None:
            array = array[..., slice(*self.columns)]
        if len(self.own_shape) == 4:
            array = array.transpose(3, 2, 0, 1)
        elif len(self.own_shape) == 2 and not self._is_table:
            array = array.T
        return array.reshape(self.shape)


def to_numpy(variable: keras.Variable) -> np.ndarray:
    """Gives a variable as float32."""
    return np.asarray(
        keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float32"))
    )


def of_layers(
    layers: Mapping[str, keras.layers.Layer], pointwise: Any = ()
) -> Slots:
    """Gives the slots of layers with a `weight` and perhaps a `bias`.

    Args:
        layers: names in files, without `.weight` or `.bias`, and layers.
        pointwise: names of the matrices that files keep as convolutions.
    """
    slots = {}
    for name, layer in layers.items():
        for part, variable in zip(
            ("weight", "bias"), layer.variables, strict=False
        ):
            is_matrix = part == "weight" and name in pointwise
            slots[f"{name}.{part}"] = Slot(variable, pointwise=is_matrix)
    return slots


def assign(
    slots: Slots,
    arrays: Mapping[str, np.ndarray],
    ignored: Callable[[str], bool] = lambda name: False,
) -> None:
    """Gives a model the tensors of a file.

    Args:
        slots: all that the model has.
        arrays: all that the file has.
        ignored: tells of the name of a tensor whether it may be passed over.

    Raises:
        DataError: if a tensor is missing, unknown or of another shape. The
            model is unchanged then.
    """
    if missing := sorted(set(slots) - set(arrays)):
        raise DataError(
            f"the weights lack {missing[0]} (and {len(missing) - 1} more)"
        )
    unknown = sorted(
        name for name in set(arrays) - set(slots) if not ignored(name)
    )
    if unknown:
        raise DataError(
            f"the model has no weight {unknown[0]} (and {len(unknown) - 1} "
            "more in the file)"
        )
    for name, slot in slots.items():
        if not slot.fits(arrays[name]):
            raise DataError(
                f"{name} has the shape {arrays[name].shape} and the model "
                f"{slot.shape}"
            )
    for variable, parts in _by_variable(slots):
        values = [slot.to_model(arrays[name]) for name, slot in parts]
        whole = values[0] if len(values) == 1 else np.concatenate(values, -1)
        variable.assign(np.ascontiguousarray(whole, "float32"))


def _by_variable(
    slots: Slots,
) -> Iterator[tuple[keras.Variable, list[tuple[str, Slot]]]]:
    """Groups slots that are columns of one variable, the first one first."""
    groups: dict[int, list[tuple[str, Slot]]] = {}
    for name, slot in slots.items():
        groups.setdefault(id(slot.variable), []).append((name, slot))
    for parts in groups.values():
        parts.sort(key=lambda part: part[1].columns or (0, 0))
        yield parts[0][1].variable, parts
