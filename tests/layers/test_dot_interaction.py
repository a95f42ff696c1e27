import numpy as np
import pytest
from keras import ops

from keras_multi.layers import DotInteraction
from tests.layers.layer_case import check_layer

X = np.random.default_rng(0).standard_normal((3, 4, 5)).astype("float32")


@pytest.mark.parametrize(
    ("options", "pairs"),
    [
        ({}, 6),
        ({"self_interaction": True}, 10),
        ({"skip_gather": True}, 16),
    ],
)
def test_holds_what_every_layer_holds(options, pairs, tmp_path):
    check_layer(
        lambda **kwargs: DotInteraction(**options, **kwargs),
        [X],
        output_shape=(3, pairs),
        num_weights=0,
        folder=tmp_path,
    )


@pytest.mark.parametrize("self_interaction", [False, True])
@pytest.mark.parametrize("skip_gather", [False, True])
def test_equals_keras_rs_and_a_loop(self_interaction, skip_gather):
    import keras_rs

    options = {
        "self_interaction": self_interaction,
        "skip_gather": skip_gather,
    }
    features = [X[:, i] for i in range(X.shape[1])]
    ours = ops.convert_to_numpy(DotInteraction(**options)(features))
    theirs = keras_rs.layers.DotInteraction(**options)(
        [ops.convert_to_tensor(f) for f in features]
    )
    np.testing.assert_allclose(ours, ops.convert_to_numpy(theirs), rtol=1e-6)
    if not skip_gather:
        pairs = [
            (i, j) for i in range(4) for j in range(i + int(self_interaction))
        ]
        loop = [[x[i] @ x[j] for i, j in pairs] for x in X]
        np.testing.assert_allclose(ours, loop, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "inputs", [X[0], [X[:, 0], X[:, 1, :3]], [X, X]], ids=["2d", "mix", "3d"]
)
def test_says_which_shapes_are_wrong(inputs):
    with pytest.raises(ValueError, match="Received: shape"):
        DotInteraction()(inputs)
