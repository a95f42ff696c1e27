"""What every shared layer must hold, checked alike for each of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_multi import backend

POLICIES = (
    "float32",
    "float64",
    "bfloat16",
    "float16",
    "mixed_bfloat16",
    "mixed_float16",
)
LOW_PRECISION = {"bfloat16": 6e-2, "float16": 1e-2}


def check_layer(
    make: Callable[..., keras.layers.Layer],
    inputs: Sequence[np.ndarray],
    output_shape: tuple[int, ...],
    num_weights: int,
    folder: Path,
) -> None:
    """Checks building, shapes, dtypes, saving, gradients and compilation.

    Args:
        make: builds the layer; takes the arguments of `keras.layers.Layer`.
        inputs: float32 arrays, the layer's call arguments.
        output_shape: expected, batch size included.
        num_weights: expected number of trainable weights.
        folder: where files may be written.
    """
    layer = make()
    eager = ops.convert_to_numpy(layer(*inputs))
    assert eager.shape == output_shape
    assert len(layer.trainable_weights) == num_weights
    assert layer.compute_output_shape(*[x.shape for x in inputs]) == (
        output_shape
    )

    _check_policies(make, inputs, eager, layer)
    _check_symbolic_and_saved(layer, inputs, eager, folder)
    _check_configuration(layer)
    _check_gradients(layer, inputs)
    _check_compiled(layer, inputs, eager)


def _check_policies(
    make: Callable[..., keras.layers.Layer],
    inputs: Sequence[np.ndarray],
    expected: np.ndarray,
    reference: keras.layers.Layer,
) -> None:
    for policy in POLICIES:
        layer = make(dtype=policy)
        output = layer(*inputs)
        # On JAX and PyTorch Keras's operations promote float64 to float32.
        allowed = {layer.compute_dtype}
        if policy == "float64" and backend.name() != "tensorflow":
            allowed.add("float32")
        dtype = keras.backend.standardize_dtype(output.dtype)
        assert dtype in allowed, policy
        assert {w.dtype for w in layer.weights} <= {layer.variable_dtype}
        layer.set_weights(reference.get_weights())
        output = ops.convert_to_numpy(ops.cast(layer(*inputs), "float32"))
        tolerance = LOW_PRECISION.get(layer.compute_dtype, 1e-5)
        scale = np.abs(expected).max()
        assert np.abs(output - expected).max() <= tolerance * scale, policy


def _check_symbolic_and_saved(
    layer: keras.layers.Layer,
    inputs: Sequence[np.ndarray],
    expected: np.ndarray,
    folder: Path,
) -> None:
    symbols = [keras.Input(batch_shape=(None, *x.shape[1:])) for x in inputs]
    output = layer(*symbols)
    assert output.shape == (None, *expected.shape[1:])
    model = keras.Model(symbols, output)
    predicted = model.predict(list(inputs), verbose=0)
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)
    model.save(folder / "layer.keras")
    loaded = keras.models.load_model(folder / "layer.keras")
    again = loaded.predict(list(inputs), verbose=0)
    np.testing.assert_array_equal(again, predicted)


def _check_configuration(layer: keras.layers.Layer) -> None:
    config = layer.get_config()
    json.dumps(config)
    again = type(layer).from_config(config)
    assert again.get_config() == config


def _check_gradients(
    layer: keras.layers.Layer, inputs: Sequence[np.ndarray]
) -> None:
    def loss() -> Any:
        return ops.mean(ops.square(layer(*inputs)))

    value, gradients = backend.value_and_gradients(
        loss, layer.trainable_variables
    )
    assert np.isfinite(ops.convert_to_numpy(value))
    for variable, gradient in zip(
        layer.trainable_variables, gradients, strict=True
    ):
        gradient = ops.convert_to_numpy(gradient)
        assert gradient.shape == variable.shape, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path


def _check_compiled(
    layer: keras.layers.Layer,
    inputs: Sequence[np.ndarray],
    expected: np.ndarray,
) -> None:
    """Runs under the graph tracer: whole on PyTorch, XLA on the others."""

    def call(*tensors: Any) -> Any:
        return layer(*tensors)

    if backend.name() == "torch":
        import torch

        torch._dynamo.reset()
        # Dynamo alone: code generation takes seconds and tests the compiler.
        compiled = torch.compile(call, fullgraph=True, backend="eager")
    else:
        compiled = backend.jit(call)
    output = compiled(*[ops.convert_to_tensor(x) for x in inputs])
    np.testing.assert_allclose(
        ops.convert_to_numpy(output), expected, rtol=1e-5, atol=1e-6
    )


def check_equals(layers, x):
    """Checks that layers of the same weights give what the last one gives.

    Args:
        layers: unbuilt layers without randomness.
        x: an input.
    """
    results = []
    for layer in layers:
        layer.build(x.shape)
        shapes = [w.shape for w in layer.get_weights()]
        rng = np.random.default_rng(1)
        layer.set_weights([rng.uniform(0.5, 2, shape) for shape in shapes])
        inputs = keras.Variable(x)
        value, gradients = backend.value_and_gradients(
            lambda layer=layer, inputs=inputs: ops.sum(
                ops.square(ops.add(layer(inputs.value), x))
            ),
            [inputs, *layer.trainable_variables],
        )
        results.append([layer(x), value, *gradients])
    for ours, expected in zip(*results, strict=True):
        ours, expected = map(ops.convert_to_numpy, (ours, expected))
        largest = np.abs(expected).max()
        np.testing.assert_allclose(ours, expected, atol=1e-5 * largest)
