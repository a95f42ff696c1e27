import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from keras_multi.errors import UsageError
from nlp import GPT2, Generator
from nlp.generation import Random, Speculative
from nlp.generation.speculative import SpeculativeLoop, decide

RNG = np.random.default_rng(4)


def generator(dim, **options):
    settings = {"max_length": 64, **options}
    model = GPT2(11, 1, 2, dim, **settings)
    model.build()
    model.set_weights([RNG.normal(0, 0.6, w.shape) for w in model.weights])
    return Generator(model)


@pytest.fixture(scope="module")
def models():
    return generator(16), generator(8)


def test_greedy_text_is_that_of_the_model(models, monkeypatch):
    large, small = models
    prompts = [[1, 2, 3], [4]]
    expected = large.generate(prompts, 20)
    assert large.generate(prompts, 20, Speculative(small, 3)) == expected
    states = []
    result = SpeculativeLoop.result
    monkeypatch.setattr(
        SpeculativeLoop,
        "result",
        lambda self, state: (states.append(state), result(self, state))[1],
    )
    # A draft that proposes what the model wants saves most of its calls.
    assert large.generate(prompts, 20, Speculative(large, 3)) == expected
    assert [int(state.round) for state in states] == [5, 5]


@pytest.mark.slow
def test_stops_and_streams(models):
    large, small = models
    expected = large.generate([[1, 2, 3]], 20)[0]
    stop = expected[9]
    ids = []
    (text,) = large.generate(
        [[1, 2, 3]],
        20,
        Speculative(small, 3),
        stop_ids=[stop],
        callback=lambda row, token: ids.append(token),
    )
    assert text == expected[: expected.index(stop, 3) + 1]
    assert text == [1, 2, 3, *ids]


@pytest.mark.slow
def test_draws_depend_on_the_seed(models):
    large, small = models
    sampler = Speculative(small, 3, Random())
    first, same, other = (
        large.generate([[1, 2, 3]], 12, sampler, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == same != other


def test_the_distribution_is_that_of_the_model():
    """Draws on a grid give every outcome its exact probability."""
    count = 60
    p = np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]], "float32")
    q = np.array([[0.1, 0.6, 0.2, 0.1], [0.0, 0.0, 0.0, 0.0]], "float32")
    grid = ((np.arange(count) + 0.5) / count).astype("float32")
    first = np.zeros(4)
    compiled = backend.inference(decide)
    for token in range(4):
        for accept in grid:
            draws = np.array([accept, 0.5], "float32")
            accepted, _ = (
                int(x)
                for x in compiled(
                    *map(ops.convert_to_tensor, (p, q)),
                    ops.convert_to_tensor([token], "int32"),
                    ops.convert_to_tensor(draws),
                )
            )
            share = q[0, token] / count
            if accepted:
                first[token] += share
            else:
                left = np.maximum(p[0] - q[0], 0)
                first += share * left / left.sum()
    np.testing.assert_allclose(first, p[0], atol=2 / count)


def test_what_follows_is_drawn_from_what_is_left():
    p = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]], "float32")
    q = np.array([[0.1, 0.9, 0.0], [9.0, 9.0, 9.0]], "float32")
    tensors = [ops.convert_to_tensor(x) for x in (p, q)]
    token = ops.convert_to_tensor([1], "int32")

    def after(accept, draw):
        draws = ops.convert_to_tensor([accept, draw], "float32")
        return [int(x) for x in decide(*tensors, token, draws)]

    # Rejected: of p - q, 0.4 and 0.2 are left.
    assert after(0.4, 0.66) == [0, 0]
    assert after(0.4, 0.67) == [0, 2]
    # Accepted: the next token has the probabilities of the model.
    assert [after(0.3, draw) for draw in (0.1, 0.4, 0.6)] == [
        [1, 0],
        [1, 1],
        [1, 2],
    ]


def test_says_what_is_wrong(models):
    large, small = models
    with pytest.raises(UsageError, match="num_tokens"):
        Speculative(small, 0)
    with pytest.raises(UsageError, match="no rules but stop ids"):
        large.generate([[1]], 4, Speculative(small), repetition_penalty=2.0)
    with pytest.raises(UsageError, match="of which 5 must stay free"):
        large.generate([[1]], 60, Speculative(small))
    with pytest.raises(UsageError, match="the context of the model"):
        large.generate([[1]], 4, Speculative(generator(8, max_length=32)))
