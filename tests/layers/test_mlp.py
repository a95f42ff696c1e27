import numpy as np
import pytest
from keras import ops

from keras_multi.layers import MLP
from tests.layers.layer_case import check_layer

X = np.random.default_rng(0).standard_normal((8, 6)).astype("float32")


@pytest.mark.parametrize(
    ("options", "num_weights"),
    [
        ({}, 6),
        ({"use_bias": False, "final_activation": "sigmoid"}, 3),
        ({"normalization": "layer", "dropout": 0.2}, 10),
        ({"normalization": "batch"}, 10),
    ],
)
def test_holds_what_every_layer_holds(options, num_weights, tmp_path):
    check_layer(
        lambda **kwargs: MLP([16, 12, 3], "tanh", **options, **kwargs),
        [X],
        output_shape=(8, 3),
        num_weights=num_weights,
        folder=tmp_path,
    )


def test_equals_scikit_learn():
    from sklearn.neural_network import MLPRegressor

    y = X @ np.arange(12.0).reshape(6, 2)
    theirs = MLPRegressor(
        hidden_layer_sizes=(16, 12), max_iter=5, random_state=0
    )
    with pytest.warns(UserWarning, match="converge"):
        theirs.fit(X, y)
    ours = MLP([16, 12, 2])
    ours.build(X.shape)
    ours.set_weights(
        [
            weight
            for layer in zip(theirs.coefs_, theirs.intercepts_, strict=True)
            for weight in layer
        ]
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours(X)), theirs.predict(X), rtol=1e-4, atol=1e-4
    )


def test_dropout_is_active_in_training_only():
    layer = MLP([64, 1], dropout=0.5)
    quiet = ops.convert_to_numpy(layer(X))
    np.testing.assert_array_equal(quiet, ops.convert_to_numpy(layer(X)))
    noisy = ops.convert_to_numpy(layer(X, training=True))
    assert np.abs(noisy - quiet).max() > 0


@pytest.mark.parametrize(
    ("units", "options"),
    [
        ([], {}),
        ([8, 0], {}),
        ([8], {"dropout": 1.0}),
        ([8], {"normalization": "group"}),
    ],
)
def test_says_which_argument_is_wrong(units, options):
    with pytest.raises(ValueError, match="Received: "):
        MLP(units, **options)
