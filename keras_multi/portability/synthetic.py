"""Inputs and targets for a model that comes without."""

from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_multi.errors import UsageError

FREE_LENGTH = 16
_SEED = 0
_WORDS = np.array(["the", "cat", "sat", "on", "a", "mat"])


def inputs(model: keras.Model, rows: int) -> Any:
    """Draws inputs from a model's input specification.

    Floating-point inputs are standard normal, integers lie below the
    smallest vocabulary of the model's embeddings (below 2 without any),
    strings are short words, and a free axis is 16 long.

    Args:
        model: with known inputs: functional, sequential with an `Input`, or
            built by `build(input_shape)`.
        rows: number of examples.

    Returns:
        NumPy arrays in the structure of the model's inputs.

    Raises:
        UsageError: if the model does not know its inputs.
    """
    rng = np.random.default_rng(_SEED)
    vocabularies = [
        layer.input_dim
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Embedding)
    ]
    top = min(vocabularies, default=2)

    def draw(spec: Any) -> np.ndarray:
        shape = (
            rows,
            *(FREE_LENGTH if d is None else d for d in spec.shape[1:]),
        )
        dtype = keras.backend.standardize_dtype(spec.dtype)
        if dtype == "bool":
            return rng.integers(0, 2, shape).astype("bool")
        if dtype == "string":
            return rng.choice(_WORDS, shape)
        if "int" in dtype:
            return rng.integers(0, top, shape).astype(dtype)
        return rng.standard_normal(shape).astype("float32")

    return tree.map_structure(draw, _specification(model))


def _specification(model: keras.Model) -> Any:
    """The model's symbolic inputs in the structure that it is called with."""
    functional = getattr(model, "_functional", None) or model
    if getattr(functional, "inputs", None):
        # Keras flattens `inputs`; this has the names of a dictionary.
        return functional._inputs_struct
    raise UsageError(
        f"the model {model.name!r} does not tell its inputs; return (model, "
        "inputs) with an array of examples instead of the model alone"
    )


def has_loss(model: keras.Model) -> bool:
    """Whether a model is compiled with a loss, which targets can be drawn for.

    A model without may bring its own `compute_loss` or `train_step`; what it
    wants as targets is not known.
    """
    return bool(model.compiled and model._compile_loss is not None)


def targets(model: keras.Model, outputs: Any, rows: int) -> Any:
    """Draws targets that a compiled model's loss takes.

    Integer classes for sparse losses, one-hot rows for categorical ones,
    zeros and ones for binary ones, standard normal numbers for the rest.

    Args:
        model: a model compiled with a loss.
        outputs: what it gives for some rows.
        rows: number of examples.

    Raises:
        UsageError: if the losses do not fit the outputs.
    """
    rng = np.random.default_rng(_SEED + 1)
    losses = model._compile_loss._user_loss

    def draw(output: Any, loss: Any) -> Any:
        if loss is None:
            return None
        kind = _kind(loss)
        shape = (rows, *output.shape[1:])
        if kind == "sparse":
            classes = rng.integers(0, shape[-1], shape[:-1])
            return classes.astype("int32")
        if kind == "categorical":
            classes = rng.integers(0, shape[-1], shape[:-1])
            return np.eye(shape[-1], dtype="float32")[classes]
        if kind == "binary":
            return rng.integers(0, 2, shape).astype("float32")
        if kind == "positive":
            return rng.uniform(0.5, 1.5, shape).astype("float32")
        return rng.standard_normal(shape).astype("float32")

    try:
        if isinstance(losses, dict):
            return {key: draw(outputs[key], x) for key, x in losses.items()}
        if isinstance(losses, list | tuple):
            flat = tree.flatten(outputs)
            if len(flat) == len(losses) == 1:
                return draw(flat[0], losses[0])
            drawn = [draw(o, x) for o, x in zip(flat, losses, strict=True)]
            return tree.pack_sequence_as(outputs, drawn)
        return tree.map_structure(lambda output: draw(output, losses), outputs)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(
            f"the losses of the model {model.name!r} do not fit its outputs; "
            "return (model, inputs, targets). Received: "
            f"loss={_kinds(losses)}, outputs={_kinds(outputs)}"
        ) from error


def compile_for(model: keras.Model, outputs: Any, targets: Any) -> None:
    """Compiles a model with Adam and the loss that its targets call for.

    Integer targets with one axis less than the output are classes; an output
    whose rows sum to one is taken for probabilities, else for logits. All
    other targets are fitted by the squared error.

    Args:
        model: a built model.
        outputs: what it gives for some rows.
        targets: arrays in the structure of the outputs.

    Raises:
        UsageError: if targets and outputs differ in structure.
    """

    def loss(output: Any, target: np.ndarray) -> keras.losses.Loss:
        if target.dtype.kind in "iu" and target.ndim == len(output.shape) - 1:
            sums = ops.convert_to_numpy(ops.sum(output, axis=-1))
            logits = not np.allclose(sums, 1.0, atol=1e-3)
            return keras.losses.SparseCategoricalCrossentropy(
                from_logits=logits
            )
        return keras.losses.MeanSquaredError()

    try:
        losses = tree.map_structure(loss, outputs, targets)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the targets of the model {model.name!r} need the structure of "
            f"its outputs. Received: targets={_kinds(targets)}, "
            f"outputs={_kinds(outputs)}"
        ) from error
    model.compile(keras.optimizers.Adam(1e-3), losses)


def _kinds(structure: Any) -> Any:
    """The structure with the names of types, or the strings, in it."""
    return tree.map_structure(
        lambda leaf: leaf if isinstance(leaf, str) else type(leaf).__name__,
        structure,
    )


# Names of Keras's losses in lower case, without underscores.
_KINDS = {
    "sparse": {"sparsecategoricalcrossentropy"},
    "categorical": {
        *("categoricalcrossentropy", "categoricalfocalcrossentropy"),
        *("categoricalgeneralizedcrossentropy", "categoricalhinge"),
        *("kldivergence", "dice", "tversky"),
    },
    "binary": {
        *("binarycrossentropy", "binaryfocalcrossentropy"),
        *("hinge", "squaredhinge"),
    },
    "positive": {"poisson", "meansquaredlogarithmicerror"},
}


def _kind(loss: Any) -> str:
    """What a loss wants its targets to be."""
    try:
        known = keras.losses.get(loss)
    except ValueError:
        return "real"
    name = getattr(known, "__name__", type(known).__name__)
    name = name.replace("_", "").lower()
    for kind, losses in _KINDS.items():
        if name in losses:
            return kind
    return "real"
