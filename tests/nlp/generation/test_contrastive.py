import numpy as np
import pytest

from keras_multi.errors import UsageError
from nlp import GPT2, Generator
from nlp.generation import Contrastive
from tests.nlp.gpt2_case import reference

PROMPTS = [[5, 9, 1, 33], [7]]


def searched(model, prompt, count, k, alpha):
    """Eq. 5 of the paper, every text computed from its beginning."""
    import torch

    text = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            logits = model(torch.tensor([text])).logits[0, -1]
            shares, candidates = torch.softmax(logits, -1).topk(k)
            scores = []
            for share, token in zip(shares, candidates.tolist(), strict=True):
                output = model(
                    torch.tensor([[*text, token]]), output_hidden_states=True
                )
                states = output.hidden_states[-1][0].numpy()
                states /= np.linalg.norm(states, axis=-1, keepdims=True)
                similarity = (states[:-1] @ states[-1]).max()
                scores.append((1 - alpha) * share.item() - alpha * similarity)
            text.append(candidates[int(np.argmax(scores))].item())
    return text


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    expected = reference(folder)
    return expected, Generator(GPT2.from_preset(folder))


def test_equals_the_equation(models):
    expected, generator = models
    texts = generator.generate(PROMPTS, 12, Contrastive(4, 0.6))
    for prompt, text in zip(PROMPTS, texts, strict=True):
        assert text == searched(expected, prompt, 12, 4, 0.6)
    assert texts != generator.generate(PROMPTS, 12)


@pytest.mark.slow
def test_without_a_weight_it_is_greedy_and_stops(models):
    _, generator = models
    greedy = generator.generate(PROMPTS, 12)
    stop = greedy[0][9]
    texts = generator.generate(
        PROMPTS, 12, Contrastive(2, 0.0), stop_ids=[stop]
    )
    for prompt, text, longer in zip(PROMPTS, texts, greedy, strict=True):
        new = longer[len(prompt) :]
        end = new.index(stop) + 1 if stop in new else len(new)
        assert text == prompt + new[:end]


@pytest.mark.parametrize("arguments", [(0, 0.5), (4, -0.1), (4, 1.1)])
def test_says_what_is_wrong(arguments):
    with pytest.raises(UsageError, match="Received: "):
        Contrastive(*arguments)
