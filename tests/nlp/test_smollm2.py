"""The real model, against what `transformers` 5.24 computes from its file."""

import numpy as np
import pytest

import nlp
from keras_multi.data import default_cache_dir
from keras_multi.errors import DataError
from nlp import Generator
from nlp.chat import prompt
from nlp.weights import SMOLLM2

pytestmark = pytest.mark.slow

# Mean negative log-probability of all tokens but the first.
LOSSES = {
    "The sun rises in the east and sets in the west.": 2.19042,
    "Water boils at one hundred degrees Celsius at sea level.": 4.52169,
    "The quick brown fox jumps over the lazy dog.": 4.01165,
}
# Longer ones, in which the surprise of the first words weighs less.
SENTENCES = [
    "The capital of France is Paris, and the capital of Germany is Berlin.",
    "Photosynthesis is the process by which plants use sunlight to make food "
    "from carbon dioxide and water.",
    "Once upon a time, there was a little girl who lived in a small village "
    "near the forest.",
]
CAPITAL = [504, 3575, 282, 4649, 314]
# fmt: off
CONTINUED = [
    7042, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 32, 33, 40, 29, 32, 33,
    29, 34, 34, 216, 33, 34, 42, 33, 34, 42, 37, 35, 30, 2,
]
# fmt: on


@pytest.fixture(scope="module")
def generator():
    try:
        SMOLLM2.files(default_cache_dir(), progress=False)
    except DataError as error:
        pytest.skip(f"the weights cannot be fetched: {error}")
    return Generator(nlp.load("smollm2_135m_instruct"))


def test_losses_equal_transformers(generator):
    ids = [generator.tokenizer.encode(text) for text in LOSSES]
    losses = [-np.mean(s.log_probabilities) for s in generator.score(ids)]
    np.testing.assert_allclose(losses, list(LOSSES.values()), atol=1e-3)


def test_knows_english(generator):
    ids = [generator.tokenizer.encode(text) for text in SENTENCES]
    scores = [s.log_probabilities for s in generator.score(ids)]
    assert -np.mean(np.concatenate(scores)) <= 2.2


def test_greedy_text_equals_transformers(generator):
    text = "The capital of France is"
    assert generator.tokenizer.encode(text) == CAPITAL
    (ids,) = generator.generate([CAPITAL], max_new_tokens=40)
    assert ids == CAPITAL + CONTINUED
    assert generator.tokenizer.decode(ids).startswith(f"{text} Paris.")


def test_answers(generator):
    asked = prompt("What is the capital of France?", generator.tokenizer)
    assert asked == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
        "trained by Hugging Face<|im_end|>\n<|im_start|>user\nWhat is the "
        "capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    answer = generator.generate(asked, max_new_tokens=40)
    assert answer == f"{asked}The capital of France is Paris."
