"""A GPT-2 and a Llama of small integers, by Keras's own quantisation."""

import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from keras_multi.errors import UsageError
from nlp import GPT2, Generator, Llama

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 60, (2, 20))


def make(kind):
    if kind is GPT2:
        model = GPT2(60, 2, 2, 16, max_length=64, dropout=0.0)
    else:
        model = Llama(60, 2, 4, 16, 24, num_key_value_heads=2, max_length=64)
    model.build()
    model.set_weights([RNG.normal(0, 0.4, w.shape) for w in model.weights])
    return model


def rounded(weight, axis):
    """Each column or row in 127 steps up to its largest absolute value."""
    scale = 127 / (np.abs(weight).max(axis, keepdims=True) + 1e-7)
    return np.round(weight * scale.astype("float32")) / scale


@pytest.mark.parametrize("kind", [GPT2, Llama])
def test_generates_and_scores_as_a_model_with_rounded_weights(kind):
    model, expected = make(kind), make(kind)
    weights = model.get_weights()
    expected.set_weights(
        [
            # Embeddings by their rows, matrices by their columns.
            weight
            if weight.ndim == 1
            else rounded(weight, 1 if "embeddings" in variable.path else 0)
            for weight, variable in zip(weights, model.weights, strict=True)
        ]
    )
    model.quantize("int8")
    generator, wanted = Generator(model), Generator(expected)
    # The kernel of PyTorch rounds to bfloat16.
    rounds = backend.name() == "torch"
    for ours, theirs in zip(
        generator.score(IDS), wanted.score(IDS), strict=True
    ):
        np.testing.assert_allclose(
            ours.log_probabilities,
            theirs.log_probabilities,
            atol=0.2 if rounds else 2e-3,
        )
    texts = generator.generate(IDS[:, :5], 20)
    if not rounds:
        np.testing.assert_array_equal(texts, wanted.generate(IDS[:, :5], 20))
    (alone,) = generator.generate(IDS[:1, :5], 20)
    np.testing.assert_array_equal(alone, texts[0])


def test_keras_computes_nearly_the_same():
    model = make(GPT2)
    before = ops.convert_to_numpy(model(IDS))
    model.quantize("int8")
    after = ops.convert_to_numpy(model(IDS))
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.99


def test_is_not_saved_as_a_preset(tmp_path):
    model = make(GPT2)
    model.quantize("int8")
    with pytest.raises(UsageError, match="before it is quantised"):
        model.save_to_preset(tmp_path)
