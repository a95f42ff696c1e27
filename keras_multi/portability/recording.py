"""Every layer's inputs and outputs during one call of a model."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask


@dataclass
class Call:
    """One call of a layer.

    Attributes:
        path: path of the layer in the model.
        kind: its class.
        number: how many calls of this path came before.
        inputs: the tensors among its arguments, flat, as it received them.
        outputs: the tensors that it gave, flat.
    """

    path: str
    kind: str
    number: int
    inputs: list[np.ndarray]
    outputs: list[np.ndarray] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What names the same call on another backend."""
        return f"{self.path}#{self.number}"


@contextlib.contextmanager
def recorded(
    forced: dict[str, list[np.ndarray]] | None = None,
) -> Iterator[list[Call]]:
    """Records the calls of layers, in the order in which they end.

    An inner layer ends before the one that calls it, so the first call that
    differs is the innermost. Calls on symbolic tensors, such as those inside
    a loop that a backend compiles, are left out.

    Args:
        forced: inputs by the key of a call. They take the place of what the
            layer is given, so that its output is judged by itself, without
            the errors of the layers before it.

    Yields:
        A list that grows with each call.

    Example:
        >>> import keras, numpy as np
        >>> from keras_multi.portability.recording import recorded
        >>> model = keras.Sequential([keras.layers.Dense(2, name="head")])
        >>> with recorded() as calls:
        ...     _ = model(np.ones((1, 3), "float32"))
        >>> [call.kind for call in calls]
        ['Dense', 'Sequential']
    """
    calls: list[Call] = []
    counts: Counter[str] = Counter()
    original = keras.layers.Layer.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        path = getattr(self, "path", None) or self.name
        inputs = _arrays((args, kwargs))
        if inputs is None:
            return original(self, *args, **kwargs)
        made = Call(path, type(self).__name__, counts[path], inputs)
        counts[path] += 1
        if forced and made.key in forced:
            args, kwargs = _replaced((args, kwargs), forced[made.key])
        result = original(self, *args, **kwargs)
        outputs = _arrays(result)
        if outputs is not None:
            made.outputs = outputs
            calls.append(made)
        return result

    keras.layers.Layer.__call__ = call
    try:
        yield calls
    finally:
        keras.layers.Layer.__call__ = original


def _is_data(value: Any) -> bool:
    return isinstance(value, np.ndarray) or ops.is_tensor(value)


def _arrays(structure: Any) -> list[np.ndarray] | None:
    """The tensors as arrays; `None` if one has no value yet."""
    leaves = tree.flatten(structure)
    if any(keras.utils.is_keras_tensor(leaf) for leaf in leaves):
        return None
    try:
        return [
            np.array(ops.convert_to_numpy(leaf))
            for leaf in leaves
            if _is_data(leaf)
        ]
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return None


def _replaced(structure: Any, values: list[np.ndarray]) -> Any:
    """The structure with other tensors of the same shapes, masks kept."""
    leaves = tree.flatten(structure)
    places = [i for i, leaf in enumerate(leaves) if _is_data(leaf)]
    if [tuple(leaves[i].shape) for i in places] != [v.shape for v in values]:
        return structure
    for place, value in zip(places, values, strict=True):
        old = leaves[place]
        new = ops.convert_to_tensor(
            value, keras.backend.standardize_dtype(old.dtype)
        )
        if (mask := get_keras_mask(old)) is not None:
            set_keras_mask(new, mask)
        leaves[place] = new
    return tree.pack_sequence_as(structure, leaves)
