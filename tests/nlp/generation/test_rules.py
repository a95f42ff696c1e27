import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_multi.errors import UsageError
from nlp.generation import Rules

RNG = np.random.default_rng(0)
V, S, PROMPT, NOW = 6, 14, 6, 11
LOGITS = RNG.normal(0, 2, (3, V)).astype("float32")
TOKENS = RNG.integers(0, V, (3, S)).astype("int32")
START = np.array([0, 2, 5], "int32")


def apply(rules, tokens=TOKENS, start=START):
    changed = rules(
        ops.convert_to_tensor(LOGITS),
        ops.convert_to_tensor(tokens),
        ops.convert_to_tensor(start),
        ops.convert_to_tensor(PROMPT, "int32"),
        ops.convert_to_tensor(NOW, "int32"),
    )
    return ops.convert_to_numpy(changed)


def processed(name, value):
    """The logits after a processor of `transformers`, row by row."""
    import torch
    from transformers.generation import logits_process

    processor = getattr(logits_process, name)(value)
    rows = [
        processor(torch.tensor(text[None]), torch.tensor(logits[None])).numpy()
        for text, logits in zip(texts(), LOGITS, strict=True)
    ]
    return np.concatenate(rows)


def texts():
    return [
        row[first:NOW].astype("int64")
        for row, first in zip(TOKENS, START, strict=True)
    ]


@pytest.mark.parametrize("penalty", [0.8, 1.7])
def test_repetition_penalty_equals_transformers(penalty):
    expected = processed("RepetitionPenaltyLogitsProcessor", penalty)
    ours = apply(Rules(repetition_penalty=penalty))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_repeat_equals_transformers(n):
    expected = processed("NoRepeatNGramLogitsProcessor", n)
    ours = apply(Rules(no_repeat_ngram=n))
    banned = np.isneginf(expected)
    np.testing.assert_array_equal(ours < -1e29, banned)
    np.testing.assert_array_equal(ours[~banned], LOGITS[~banned])


def test_no_repeat_equals_a_search_in_the_text():
    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 4))
    def check(seed, n):
        tokens = np.random.default_rng(seed).integers(0, 3, (3, S), "int32")
        ours = apply(Rules(no_repeat_ngram=n), tokens) < -1e29
        for row, first, banned in zip(tokens, START, ours, strict=True):
            text = row[first:NOW].tolist()
            end = text[len(text) - n + 1 :]
            expected = {
                text[i + n - 1]
                for i in range(len(text) - n + 1)
                if text[i : i + n - 1] == end
            }
            assert set(np.flatnonzero(banned).tolist()) == expected

    check()


def test_penalties_count_new_tokens_only():
    counts = np.stack(
        [np.bincount(row[PROMPT:NOW], minlength=V) for row in TOKENS]
    )
    expected = LOGITS - 0.5 * counts - 0.25 * (counts > 0)
    ours = apply(Rules(frequency_penalty=0.5, presence_penalty=0.25))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize(("least", "forbidden"), [(5, False), (6, True)])
def test_a_text_does_not_end_before_its_least_length(least, forbidden):
    ours = apply(Rules(min_new_tokens=least, stop_ids=(1, 4)))
    expected = LOGITS.copy()
    if forbidden:
        expected[:, [1, 4]] = -1e30
    np.testing.assert_allclose(ours, expected)


def test_knows_the_stop_tokens():
    stops = Rules(stop_ids=(1, 4)).stops(ops.arange(V, dtype="int32"))
    assert ops.convert_to_numpy(stops).tolist() == [0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    "setting",
    [
        {"repetition_penalty": 0.0},
        {"min_new_tokens": -1},
        {"no_repeat_ngram": -2},
    ],
)
def test_says_which_setting_is_wrong(setting):
    with pytest.raises(UsageError, match="Received: "):
        Rules(**setting)
