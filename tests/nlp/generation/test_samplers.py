import numpy as np
import pytest
from keras import ops

from keras_multi.errors import UsageError
from nlp.generation import Greedy, Random

LOGITS = np.random.default_rng(0).normal(0, 2, (5, 23)).astype("float32")


def warped(*warpers):
    """Probabilities after the warpers of `transformers`."""
    import torch

    scores = torch.tensor(LOGITS)
    for warper in warpers:
        scores = warper(None, scores)
    return torch.softmax(scores, dim=-1).numpy()


def warpers(**settings):
    from transformers.generation import logits_process as hf

    classes = {
        "temperature": hf.TemperatureLogitsWarper,
        "top_k": hf.TopKLogitsWarper,
        "top_p": hf.TopPLogitsWarper,
        "min_p": hf.MinPLogitsWarper,
        "typical_p": hf.TypicalLogitsWarper,
    }
    return [classes[name](value) for name, value in settings.items()]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.5},
        {"temperature": 3.0},
        {"top_k": 1},
        {"top_k": 7},
        {"top_p": 0.5},
        {"top_p": 0.95},
        {"top_p": 1e-9},
        {"min_p": 0.2},
        {"typical_p": 0.3},
        {"typical_p": 0.9},
        {"temperature": 1.5, "top_k": 12, "top_p": 0.8, "min_p": 0.1},
    ],
)
def test_probabilities_equal_transformers(settings):
    ours = Random(**settings).probabilities(ops.convert_to_tensor(LOGITS))
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours), warped(*warpers(**settings)), atol=1e-6
    )


def test_top_k_beyond_the_vocabulary_and_top_p_of_1_change_nothing():
    logits = ops.convert_to_tensor(LOGITS)
    plain = Random().probabilities(logits)
    for sampler in (Random(top_k=99), Random(top_p=1.0), Random(typical_p=1.0)):
        np.testing.assert_allclose(
            ops.convert_to_numpy(sampler.probabilities(logits)),
            ops.convert_to_numpy(plain),
            atol=1e-6,
        )


@pytest.mark.parametrize("sampler", [Random(), Random(0.7, top_p=0.9)])
def test_draws_have_the_exact_distribution(sampler):
    count = 4000
    draws = ((np.arange(count) + 0.5) / count).astype("float32")
    logits = np.repeat(LOGITS[:1], count, axis=0)
    tokens = ops.convert_to_numpy(
        sampler(ops.convert_to_tensor(logits), ops.convert_to_tensor(draws))
    )
    shares = np.bincount(tokens, minlength=23) / count
    expected = ops.convert_to_numpy(
        sampler.probabilities(ops.convert_to_tensor(LOGITS[:1]))
    )[0]
    # A grid of draws meets each probability to one draw.
    np.testing.assert_allclose(shares, expected, atol=1.1 / count)


def test_never_draws_what_is_left_out():
    logits = ops.convert_to_tensor([[-50.0, 1.0, 2.0, -50.0]] * 2)
    edges = np.array([0.0, np.nextafter(np.float32(1), np.float32(0))])
    tokens = Random(top_k=2)(logits, ops.convert_to_tensor(edges, "float32"))
    assert ops.convert_to_numpy(tokens).tolist() == [1, 2]


def test_greedy_takes_the_first_of_the_best():
    logits = ops.convert_to_tensor([[1.0, 3.0, 3.0], [5.0, 0.0, 1.0]])
    tokens = Greedy()(logits, ops.zeros((2,)))
    assert ops.convert_to_numpy(tokens).tolist() == [1, 0]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"typical_p": 2.0},
    ],
)
def test_says_which_setting_is_wrong(settings):
    with pytest.raises(UsageError, match="Received: "):
        Random(**settings)
