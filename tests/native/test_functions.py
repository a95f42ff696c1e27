"""Shared layers inside the function transformations of each framework."""

from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from keras_multi import backend, layers
from tests.layers.augmentation.test_layers import MAKERS
from tests.native.functions import (
    CASES,
    COLUMNS,
    LIMITS,
    augmentations,
    built,
    layer_of,
    shared_layers,
    table,
    table_of_augmentations,
)

STEP = 1e-3
README = Path(__file__).parents[2] / "docs/native/README.md"


def flat(x):
    return list(x) if isinstance(x, list | tuple) else [x]


def total(x):
    return sum(ops.sum(ops.square(part)) for part in flat(x))


def loss(layer, trainable, others, *inputs):
    """The layer as a pure function of its weights, and a number from it."""
    return total(layer.stateless_call(trainable, others, *inputs)[0])


def rows_alone(layer):
    """The layer as a function of single rows."""

    def function(*row):
        out = layer(*(ops.expand_dims(part, 0) for part in row))
        return [part[0] for part in flat(out)]

    return function


def split(layer, values):
    """Values of all weights as those that train and the others."""
    by_path = dict(zip([v.path for v in layer.weights], values, strict=True))
    return tuple(
        [ops.convert_to_tensor(by_path[v.path], v.dtype) for v in variables]
        for variables in (
            layer.trainable_variables,
            layer.non_trainable_variables,
        )
    )


def slopes(layer, value_of, gradients):
    """The slope along a direction by the gradients, and by differences."""
    rng, start = np.random.default_rng(2), layer.get_weights()
    direction = [rng.standard_normal(w.shape) for w in start]
    after, before = (
        float(
            value_of(
                *split(
                    layer,
                    [
                        w + step * d
                        for w, d in zip(start, direction, strict=True)
                    ],
                )
            )
        )
        for step in (STEP, -STEP)
    )
    found = sum(
        float(ops.sum(gradient * part))
        for gradient, part in zip(
            gradients, split(layer, direction)[0], strict=True
        )
    )
    return found, (after - before) / (2 * STEP)


if backend.name() == "jax":
    import jax

    @cache
    def results(name):
        """All of a case in one program, which is compiled once."""
        layer, inputs = built(name)

        @jax.jit
        def compute(trainable, others, *inputs):
            value, gradients = jax.value_and_grad(partial(loss, layer))(
                trainable, others, *inputs
            )
            alone = jax.vmap(rows_alone(layer))(*inputs)
            return value, gradients, alone, layer(*inputs)

        def value_of(trainable, others):
            return compute(trainable, others, *inputs)[0]

        start = split(layer, layer.get_weights())
        _, gradients, alone, output = compute(*start, *inputs)
        return {
            "jax.grad": slopes(layer, value_of, gradients),
            "jax.vmap": (alone, output),
        }

    def found_and_wanted(name, column):
        return results(name)[column]

elif backend.name() == "torch":
    import torch

    def found_and_wanted(name, column):
        layer, inputs = built(name)
        if column == "torch.func.grad":
            trainable, others = split(layer, layer.get_weights())

            def value_of(trainable, others):
                return loss(layer, trainable, others, *inputs)

            gradients = torch.func.grad(value_of)(trainable, others)
            return slopes(layer, value_of, gradients)
        if column == "torch.func.vmap":
            return torch.func.vmap(rows_alone(layer))(*inputs), layer(*inputs)
        program = torch.export.export(layer, tuple(inputs))
        return program.module()(*inputs), layer(*inputs)

else:
    import tensorflow as tf

    def found_and_wanted(name, column):
        layer, inputs = built(name)
        function = rows_alone(layer)
        found = tf.vectorized_map(lambda row: function(*row), inputs)
        return found, layer(*inputs)


def agree(found, wanted):
    # Differences of float32 numbers are less exact.
    tolerance = 2e-2 if isinstance(wanted, float) else 1e-4
    return all(
        np.allclose(
            ops.convert_to_numpy(ours),
            ops.convert_to_numpy(theirs),
            rtol=tolerance,
            atol=1e-5,
        )
        for ours, theirs in zip(flat(found), flat(wanted), strict=True)
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "column", [c for c, owner in COLUMNS.items() if owner == backend.name()]
)
def test_cell(name, column):
    found, wanted = found_and_wanted(name, column)
    works = (layer_of(name), column) not in LIMITS
    assert agree(found, wanted) == works, (found, wanted)


def test_each_augmentation_is_compiled_in_its_own_tests():
    assert set(augmentations()) <= set(MAKERS)


def test_readme_has_the_tables():
    text = README.read_text()
    assert f"\n{table()}\n" in text
    assert f"\n{table_of_augmentations()}\n" in text


def test_each_layer_has_a_row():
    rows = [*{layer_of(name) for name in CASES}, *augmentations()]
    assert sorted(rows) == sorted(shared_layers())


def test_each_limit_is_of_a_cell():
    for layer, column in LIMITS:
        assert layer in layers.__all__
        assert column in COLUMNS
