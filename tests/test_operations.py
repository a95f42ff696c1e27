"""Operations that each backend counts, against counts by hand."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_multi import backend


def tensor(*shape: int):
    values = np.random.default_rng(0).standard_normal(shape)
    return ops.convert_to_tensor(values.astype("float32"))


def forward(layer, *shape: int) -> float | None:
    """Operations of a layer on an input."""
    x = tensor(*shape)
    if not layer.built:
        layer.build(shape)
    return backend.operations(lambda: layer(x))


def training(layer, *shape: int) -> float | None:
    """Operations of a layer with the gradients by its weights."""
    x = tensor(*shape)
    if not layer.built:
        layer.build(shape)
    return backend.operations(
        lambda: backend.value_and_gradients(
            lambda: ops.mean(ops.square(layer(x))), layer.trainable_variables
        )
    )


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [
        ((3, 5), (5, 7), 2 * 3 * 5 * 7),
        ((4, 3, 5), (4, 5, 7), 2 * 4 * 3 * 5 * 7),
        ((2, 1, 3, 5), (4, 5, 7), 2 * 2 * 4 * 3 * 5 * 7),
        ((4, 3, 5), (5, 7), 2 * 4 * 3 * 5 * 7),
        ((3, 5), (5,), 2 * 3 * 5),
        ((5,), (5, 7), 2 * 5 * 7),
        ((5,), (5,), 2 * 5),
    ],
)
def test_matrix_products(a, b, count):
    a, b = tensor(*a), tensor(*b)
    assert backend.operations(lambda: ops.matmul(a, b)) == count


@pytest.mark.parametrize(
    ("equation", "a", "b", "count"),
    [
        ("ij,jk->ik", (3, 5), (5, 7), 2 * 3 * 5 * 7),
        ("btnh,bsnh->bnts", (2, 3, 4, 5), (2, 6, 4, 5), 2 * 2 * 3 * 4 * 5 * 6),
        ("...er,res->...es", (2, 3, 4), (4, 3, 5), 2 * 2 * 3 * 4 * 5),
        ("abc,cde->abde", (2, 3, 4), (4, 5, 6), 2 * 2 * 3 * 4 * 5 * 6),
    ],
)
def test_sums_of_products(equation, a, b, count):
    a, b = tensor(*a), tensor(*b)
    assert backend.operations(lambda: ops.einsum(equation, a, b)) == count


def test_nothing_else_counts():
    x = tensor(8, 8)
    assert backend.operations(lambda: ops.softmax(x * x + ops.sum(x))) == 0


def test_dense():
    assert forward(layers.Dense(7, "relu"), 3, 5) == 2 * 3 * 5 * 7
    assert forward(layers.Dense(7), 2, 3, 5) == 2 * 2 * 3 * 5 * 7


def test_perceptron_with_gradients():
    """Each layer costs thrice its product, but for the first one's input."""
    mlp = keras.Sequential(
        [layers.Dense(7, "relu"), layers.Dense(11, "relu"), layers.Dense(2)]
    )
    products = [2 * 3 * 5 * 7, 2 * 3 * 7 * 11, 2 * 3 * 11 * 2]
    assert forward(mlp, 3, 5) == sum(products)
    assert training(mlp, 3, 5) == 3 * sum(products) - products[0]


def test_training_leaves_the_model_as_it_is():
    model = keras.Sequential(
        [layers.Dense(4), layers.BatchNormalization(), layers.Dropout(0.5)]
    )
    x = tensor(3, 5)
    model(x)
    before = [np.array(v) for v in model.variables]
    count = backend.operations(
        lambda: backend.value_and_gradients(
            lambda: ops.sum(model(x, training=True)),
            model.trainable_variables,
        )
    )
    assert count == 2 * 2 * 3 * 5 * 4
    for v, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(v), old)


# Layer, input, and operations as 2 * outputs * taps * channels of a group.
CONVOLUTIONS = {
    "valid": (layers.Conv2D(4, 3), (2, 9, 8, 3), 2 * 2 * 7 * 6 * 4 * 9 * 3),
    "same": (
        layers.Conv2D(4, 3, padding="same"),
        (2, 9, 8, 3),
        2 * 2 * 9 * 8 * 4 * 9 * 3,
    ),
    "strides": (
        layers.Conv2D(4, (3, 2), strides=2, padding="same"),
        (2, 9, 8, 3),
        2 * 2 * 5 * 4 * 4 * 6 * 3,
    ),
    "valid strides": (
        layers.Conv2D(4, 3, strides=2),
        (2, 9, 8, 3),
        2 * 2 * 4 * 3 * 4 * 9 * 3,
    ),
    "groups": (
        layers.Conv2D(6, 3, groups=3),
        (2, 9, 8, 9),
        2 * 2 * 7 * 6 * 6 * 9 * 3,
    ),
    "dilation": (
        layers.Conv2D(4, 3, dilation_rate=2),
        (2, 10, 8, 3),
        2 * 2 * 6 * 4 * 4 * 9 * 3,
    ),
    "depthwise": (
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        (2, 9, 8, 3),
        2 * 2 * 9 * 8 * 6 * 9,
    ),
    "one dimension": (layers.Conv1D(4, 3), (2, 9, 3), 2 * 2 * 7 * 4 * 3 * 3),
    "three dimensions": (
        layers.Conv3D(4, 2),
        (2, 4, 5, 6, 3),
        2 * 2 * 3 * 4 * 5 * 4 * 8 * 3,
    ),
    "transposed": (
        layers.Conv2DTranspose(4, 3, strides=2),
        (2, 5, 4, 3),
        2 * 2 * 5 * 4 * 3 * 9 * 4,
    ),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case):
    """A gradient costs as much as the convolution: by weights, by inputs."""
    layer, shape, count = CONVOLUTIONS[case]
    assert forward(layer, *shape) == count
    assert training(layer, *shape) == 2 * count
    x = keras.Variable(tensor(*shape))
    by_both = backend.operations(
        lambda: backend.value_and_gradients(
            lambda: ops.mean(ops.square(layer(x))),
            [x, *layer.trainable_variables],
        )
    )
    assert by_both == 3 * count


def test_attention():
    batch, queries, keys, width, heads, dim = 2, 5, 6, 7, 3, 4
    layer = layers.MultiHeadAttention(heads, dim)
    query, value = tensor(batch, queries, width), tensor(batch, keys, width)
    layer.build(query.shape, value.shape)
    projection = 2 * batch * width * heads * dim
    projections = projection * (2 * queries + 2 * keys)
    products = 2 * 2 * batch * heads * queries * keys * dim
    assert (
        backend.operations(lambda: layer(query, value))
        == projections + products
    )
    counted = backend.operations(
        lambda: backend.value_and_gradients(
            lambda: ops.mean(ops.square(layer(query, value))),
            layer.trainable_variables,
        )
    )
    inputs = projection * (queries + 2 * keys)  # no gradient by these
    assert counted == 3 * (projections + products) - inputs


@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU])
@pytest.mark.parametrize("unroll", [False, True])
def test_recurrent_layers(layer, unroll):
    batch, steps, width, units = 2, 7, 3, 5
    gates = {layers.LSTM: 4, layers.GRU: 3}[layer]
    count = 2 * batch * steps * (width + units) * gates * units
    found = forward(layer(units, unroll=unroll), batch, steps, width)
    assert found == count


def test_recurrent_layer_with_gradients():
    batch, steps, width, units = 2, 7, 3, 5
    by_inputs = 2 * batch * steps * width * 4 * units
    by_states = 2 * batch * steps * units * 4 * units
    least = 2 * by_inputs + 3 * by_states
    # The state before the first step is constant; a loop counts it too.
    found = training(layers.LSTM(units), batch, steps, width)
    assert found in (least, least - by_states // steps)


def test_loops_and_branches():
    x = tensor(4, 4)
    product = 2 * 4 * 4 * 4

    def turn(i, y):
        return ops.matmul(y, x)

    def power():
        return ops.fori_loop(2, 7, turn, x)

    def either():
        return ops.cond(
            ops.sum(x) > 0,
            lambda: ops.matmul(x, x),
            lambda: ops.matmul(x, ops.transpose(x)),
        )

    assert backend.operations(power) == 5 * product
    assert backend.operations(either) == product


def test_what_only_the_values_decide_is_known_where_they_are():
    x = keras.Variable(0.1 * tensor(4, 4))

    def until_small():
        return ops.while_loop(
            lambda y: ops.max(ops.abs(y)) > 10.0,
            lambda y: (ops.matmul(y, x),),
            (x + x,),
        )

    def perhaps():
        return ops.cond(
            ops.max(x) > 10.0, lambda: ops.matmul(x, x), lambda: x + x
        )

    runs = backend.name() == "torch"
    assert backend.operations(until_small) == (0 if runs else None)
    assert backend.operations(perhaps) == (0 if runs else None)
