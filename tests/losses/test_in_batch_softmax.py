import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import log_softmax

from keras_multi import backend
from keras_multi.losses import SampledSoftmax, in_batch_softmax
from tests.unknown_batch import unknown_batch

RNG = np.random.default_rng(0)
QUERIES = RNG.standard_normal((5, 3)).astype("float32")
CANDIDATES = RNG.standard_normal((5, 3)).astype("float32")
EXTRA = RNG.standard_normal((2, 3)).astype("float32")
IDS, EXTRA_IDS = np.array([4, 7, 4, 1, 2]), np.array([7, 9])
PROBABILITY = RNG.uniform(0.1, 0.9, 7).astype("float32")
ALL = {
    "candidate_ids": IDS,
    "extra_candidates": EXTRA,
    "extra_ids": EXTRA_IDS,
    "sampling_probability": PROBABILITY,
}


def formula(hard=None):
    """The rows one by one, each with the negatives that it keeps."""
    pool = np.concatenate([CANDIDATES, EXTRA]).astype("float64")
    ids = np.concatenate([IDS, EXTRA_IDS])
    losses = []
    for i in range(5):
        logits = pool @ QUERIES[i] / 0.5 - np.log(PROBABILITY)
        negatives = np.sort(logits[ids != IDS[i]])[::-1][:hard]
        losses.append(-log_softmax([logits[i], *negatives])[0])
    return losses


@pytest.mark.parametrize("hard", [None, 2, 100])
def test_equals_the_formula(hard):
    layer = SampledSoftmax(0.5, hard)
    losses = layer(QUERIES, CANDIDATES, **ALL)
    np.testing.assert_allclose(
        ops.convert_to_numpy(losses), formula(hard), rtol=1e-5
    )
    weighted = layer(QUERIES, CANDIDATES, **ALL, sample_weight=np.arange(5.0))
    np.testing.assert_allclose(
        ops.convert_to_numpy(weighted), formula(hard) * np.arange(5), rtol=1e-5
    )
    config = layer.get_config()
    assert SampledSoftmax.from_config(config).get_config() == config


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_accidental_hit_has_no_gradient(dtype):
    """Rows of one id: nothing but hits, so no loss and no gradient."""
    queries = keras.Variable(100 * QUERIES, dtype=dtype)
    candidates = keras.Variable(100 * CANDIDATES, dtype=dtype)
    value, gradients = backend.value_and_gradients(
        lambda: ops.sum(
            in_batch_softmax(
                queries.value,
                candidates.value,
                candidate_ids=np.full(5, 3),
                num_hard_negatives=2,
            )
        ),
        [queries, candidates],
    )
    assert float(value) == 0
    for gradient in gradients:
        gradient = ops.convert_to_numpy(ops.cast(gradient, "float32"))
        assert (gradient == 0).all()


def test_says_which_argument_is_wrong():
    for options in ({"temperature": 0.0}, {"num_hard_negatives": 0}):
        with pytest.raises(ValueError, match="Received: "):
            SampledSoftmax(**options)
    with pytest.raises(ValueError, match="extra_ids"):
        in_batch_softmax(
            QUERIES, CANDIDATES, candidate_ids=IDS, extra_candidates=EXTRA
        )


@pytest.mark.parametrize("hard", [None, 2])
def test_the_size_of_the_batch_may_be_unknown(hard):
    """As in a `tf.function` of Keras, whose last batch is smaller."""

    def call(queries, candidates, ids):
        return in_batch_softmax(
            queries,
            candidates,
            candidate_ids=ids,
            num_hard_negatives=hard,
        )

    compiled = unknown_batch(call)
    for rows in (5, 3, 1):
        arguments = QUERIES[:rows], CANDIDATES[:rows], IDS[:rows]
        losses = compiled(*map(ops.convert_to_tensor, arguments))
        np.testing.assert_allclose(
            ops.convert_to_numpy(losses),
            ops.convert_to_numpy(call(*arguments)),
            rtol=1e-5,
            atol=1e-6,
        )
