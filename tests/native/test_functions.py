"""Shared layers inside the function transformations of each framework."""

from functools import partial

import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from tests.portability.cases import LAYERS

CASES = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture
def case(name):
    """A built layer, its inputs and its output."""
    make, arrays = LAYERS[name]
    layer, inputs = make(), [ops.convert_to_tensor(x) for x in arrays]
    return layer, inputs, layer(*inputs)


def numbers(x):
    return ops.convert_to_numpy(x)


def check(found, wanted):
    for ours, theirs in zip(flat(found), flat(wanted), strict=True):
        np.testing.assert_allclose(
            numbers(ours), numbers(theirs), rtol=1e-4, atol=1e-5
        )


def flat(x):
    return list(x) if isinstance(x, list | tuple) else [x]


def total(x):
    return sum(ops.sum(ops.square(part)) for part in flat(x))


def rows_alone(layer):
    """The layer as a function of single rows."""

    def function(*row):
        out = layer(*(ops.expand_dims(part, 0) for part in row))
        return [part[0] for part in flat(out)]

    return function


def loss_of(layer, inputs, weights):
    """The layer as a pure function of its weights."""
    others = [v.value for v in layer.non_trainable_variables]
    out, _ = layer.stateless_call(weights, others, *inputs)
    return total(out)


def true_gradients(layer, inputs):
    _, gradients = backend.value_and_gradients(
        lambda: total(layer(*inputs)), layer.trainable_variables
    )
    return gradients


if backend.name() == "jax":
    import jax

    @CASES
    def test_jax_grad(case):
        layer, inputs, _ = case
        weights = [v.value for v in layer.trainable_variables]
        found = jax.grad(partial(loss_of, layer, inputs))(weights)
        check(found, true_gradients(layer, inputs))

    @CASES
    def test_jax_vmap(case):
        layer, inputs, output = case
        check(jax.vmap(rows_alone(layer))(*inputs), output)

elif backend.name() == "torch":
    import torch

    @CASES
    def test_torch_func_grad(case):
        layer, inputs, _ = case
        weights = [v.value for v in layer.trainable_variables]
        found = torch.func.grad(partial(loss_of, layer, inputs))(weights)
        check(found, true_gradients(layer, inputs))

    @CASES
    def test_torch_func_vmap(case):
        layer, inputs, output = case
        check(torch.func.vmap(rows_alone(layer))(*inputs), output)

    @CASES
    def test_torch_export(case):
        layer, inputs, output = case
        program = torch.export.export(layer, tuple(inputs))
        check(program.module()(*inputs), output)

else:
    import tensorflow as tf

    @CASES
    def test_tensorflow_vectorized_map(case):
        layer, inputs, output = case
        function = rows_alone(layer)
        found = tf.vectorized_map(lambda row: function(*row), inputs)
        check(found, output)

    @CASES
    def test_tensorflow_gradient_tape(case):
        layer, inputs, _ = case
        with tf.GradientTape() as tape:
            value = total(layer(*inputs))
        found = tape.gradient(
            value, [v.value for v in layer.trainable_variables]
        )
        check(
            [tf.convert_to_tensor(part) for part in found],
            true_gradients(layer, inputs),
        )
