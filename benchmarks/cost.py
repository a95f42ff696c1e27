"""What a step of any Keras model has to do at least."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from benchmarks.results import Cost
from keras_multi import backend
from keras_multi.errors import UsageError

COUNTERS = {
    "jax": "jaxpr",
    "torch": "FlopCounterMode",
    "tensorflow": "tf.Graph",
}


def model_cost(
    model: keras.Model, inputs: Any, targets: Any, training: bool
) -> Cost | None:
    """Counts a step of a model on the backend in use.

    Args:
        model: a built model; compiled, if `training`.
        inputs: a batch as the model takes it, arrays or tensors.
        targets: a batch as the loss takes it; may be `None` in predictions.
        training: whether the step is one of `fit`: the loss of
            `Model.compute_loss` with its gradients by the trainable
            variables; otherwise one forward pass.

    Returns:
        Operations as `keras_multi.backend.operations` counts them, bytes by
        `least_bytes`, and who counted as the source; `None` where the
        backend cannot count the operations.

    Raises:
        UsageError: if `training` and the model is not compiled.

    Example:
        >>> import keras, numpy as np
        >>> from benchmarks.cost import model_cost
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
        >>> model_cost(model, np.ones((2, 3), "float32"), None, False).bytes
        144.0
    """
    if training:
        _check_compiled(model)
    x, y = tree.map_structure(_tensor, (inputs, targets))
    outputs: list[Any] = []

    def predict() -> Any:
        outputs[:] = [model(x, training=training)]
        return outputs[0]

    def loss() -> Any:
        return model.compute_loss(x=x, y=y, y_pred=predict(), training=True)

    operations = backend.operations(
        (lambda: backend.value_and_gradients(loss, model.trainable_variables))
        if training
        else predict
    )
    if operations is None:
        return None
    return Cost(
        operations=operations,
        bytes=least_bytes(model, x, y if training else outputs[0], training),
        source=COUNTERS[backend.name()],
    )


def least_bytes(
    model: keras.Model, inputs: Any, outputs: Any, training: bool
) -> float:
    """Bytes that a step must move between memory and processor.

    A lower bound: as if each activation stayed in the cache. Inputs and
    outputs count once. In a prediction each weight is read once, but for
    those of `keras.layers.Embedding`, of which only the rows that occur are
    needed. In training each trainable variable and each state of the
    optimizer is read and written once, and frozen weights are read once.

    Args:
        model: a built model; compiled, if `training`. Its optimizer is built
            if it was not.
        inputs: arrays or tensors of one batch.
        outputs: what the model gives for them; in training, the targets.
        training: whether the step trains.

    Raises:
        UsageError: if `training` and the model is not compiled.
    """
    if not training:
        lookups = {
            id(weight)
            for layer in model._flatten_layers()
            if isinstance(layer, keras.layers.Embedding)
            for weight in layer.weights
        }
        read = [w for w in model.weights if id(w) not in lookups]
        return _bytes((inputs, outputs, read))
    _check_compiled(model)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    trained = [*model.trainable_variables, *model.optimizer.variables]
    frozen = model.non_trainable_weights
    return _bytes((inputs, outputs, frozen)) + 2 * _bytes(trained)


def _check_compiled(model: keras.Model) -> None:
    if not model.compiled or model.optimizer is None:
        raise UsageError(
            "a training step needs a compiled model; call `model.compile` "
            f"with an optimizer and a loss. Received: model={model.name}"
        )


def _tensor(x: Any) -> Any:
    return None if x is None else ops.convert_to_tensor(x)


def _bytes(nested: Any) -> float:
    """Size of all arrays, tensors and variables in a structure."""
    return float(
        sum(
            math.prod(x.shape)
            * np.dtype(keras.backend.standardize_dtype(x.dtype)).itemsize
            for x in tree.flatten(nested)
            if x is not None
        )
    )
