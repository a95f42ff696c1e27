import numpy as np
import pytest
from keras import ops

from keras_multi.layers import EmbeddingBag
from tests.layers.layer_case import check_layer

IDS = np.array([[1, 2, 2], [0, -1, -1], [-1, -1, -1]], "float32")
WEIGHTS = np.array([[0.5, 2.0, 1.0], [3.0, 1.0, 1.0], [1, 1, 1]], "float32")


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize("inputs", [[IDS], [IDS, WEIGHTS]])
def test_equals_the_formula(combiner, inputs, tmp_path):
    check_layer(
        lambda **kwargs: EmbeddingBag(5, 4, combiner, **kwargs),
        inputs,
        output_shape=(3, 4),
        num_weights=1,
        folder=tmp_path,
    )
    layer = EmbeddingBag(5, 4, combiner)
    output = ops.convert_to_numpy(layer(*inputs))
    table = layer.get_weights()[0]
    w = (WEIGHTS if len(inputs) == 2 else np.ones((3, 3))) * (IDS >= 0)
    size = {
        "sum": np.ones(3), "mean": w.sum(1), "sqrtn": np.sqrt((w**2).sum(1))
    }[combiner]  # fmt: skip
    bags = np.einsum("bl,bld->bd", w, table[IDS.astype(int)])
    expected = bags / np.maximum(size, 1e-9)[:, None]
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
    assert (output[2] == 0).all()


def test_says_which_argument_is_wrong():
    with pytest.raises(ValueError, match="Received: combiner='max'"):
        EmbeddingBag(5, 4, "max")
