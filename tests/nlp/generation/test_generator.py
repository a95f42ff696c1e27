from itertools import product

import numpy as np
import pytest

from keras_multi import backend
from keras_multi.errors import UsageError
from nlp import GPT2, Generator, Tokenizer
from nlp.generation import Beam, Random
from nlp.generation.gpt2 import GPT2Decoder
from nlp.generation.prompts import bucket
from nlp.tokenizer import END_OF_TEXT
from tests.nlp.gpt2_case import VOCABULARY, reference

RNG = np.random.default_rng(3)
DRAWS = np.random.default_rng(5)
PROMPTS = [
    RNG.integers(0, VOCABULARY, length).tolist() for length in (9, 3, 14, 1)
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    expected = reference(folder, n_positions=128)
    return expected, GPT2.from_preset(folder)


@pytest.fixture(scope="module")
def generator(models):
    return Generator(models[1])


@pytest.fixture(scope="module")
def writer():
    """A generator of texts with the vocabulary of 60 bytes and an end."""
    vocabulary = {chr(33 + i): i for i in range(VOCABULARY - 1)}
    vocabulary |= {END_OF_TEXT: VOCABULARY - 1}
    backend.seed(1)
    model = GPT2(
        VOCABULARY,
        1,
        2,
        16,
        max_length=64,
        tokenizer=Tokenizer.from_files(vocabulary, []),
    )
    model.build()
    model.set_weights([DRAWS.normal(0, 0.5, w.shape) for w in model.weights])
    return Generator(model)


def theirs(model, prompt, **options):
    import torch

    ids = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones((1, len(prompt)), dtype=torch.int64),
        pad_token_id=0,
        **options,
    )
    return ids[0].tolist()


def test_greedy_equals_transformers_for_prompts_of_any_length(
    models, generator
):
    ours = generator.generate(PROMPTS, max_new_tokens=64)
    for prompt, text in zip(PROMPTS, ours, strict=True):
        expected = theirs(models[0], prompt, max_new_tokens=64, do_sample=False)
        assert text == expected
        assert len(set(text)) > 5


def test_neither_batch_nor_padding_changes_a_text(generator):
    sampler = Random(0.9, top_k=30)
    texts = generator.generate(PROMPTS, 20, sampler, seed=7)
    alone = generator.generate(PROMPTS[:1], 20, sampler, seed=7)
    assert alone == texts[:1]
    other = [PROMPTS[0], [1], [2], [3, 4]]
    assert generator.generate(other, 20, sampler, seed=7)[0] == texts[0]


def test_the_seed_decides(generator):
    sampler = Random(0.9, top_k=30)
    texts = [
        generator.generate(PROMPTS, 20, sampler, seed=seed)
        for seed in (7, 7, 8, None, None)
    ]
    assert texts[0] == texts[1]
    assert len({str(text) for text in texts}) == 4


def test_rules_equal_transformers(models, generator):
    ours = generator.generate(
        PROMPTS, 20, repetition_penalty=1.3, no_repeat_ngram=2
    )
    for prompt, text in zip(PROMPTS, ours, strict=True):
        assert text == theirs(
            models[0],
            prompt,
            max_new_tokens=20,
            do_sample=False,
            repetition_penalty=1.3,
            no_repeat_ngram_size=2,
        )


def test_stop_ids_end_each_row_by_itself(generator):
    free = generator.generate(PROMPTS, 64)
    stop = free[0][len(PROMPTS[0]) + 4]
    expected = []
    for prompt, text in zip(PROMPTS, free, strict=True):
        new = text[len(prompt) :][:20]
        end = new.index(stop) + 1 if stop in new else len(new)
        expected.append(prompt + new[:end])
    assert generator.generate(PROMPTS, 20, stop_ids=[stop]) == expected
    array = np.array([PROMPTS[0]] * 4)
    stopped = generator.generate(array, 20, stop_ids=[stop])
    assert stopped.tolist() == [expected[0]] * 4


@pytest.mark.slow
def test_gives_the_type_that_it_gets(writer):
    text = writer.generate("ABC", 5, seed=0)
    assert text.startswith("ABC")
    assert writer.generate(["ABC"], 5) == [text]
    ids = writer.tokenizer.encode("ABC")
    assert writer.tokenizer.decode(writer.generate([ids], 5)[0]) == text
    array = writer.generate(np.array([ids]), 5)
    assert array.dtype == "int32"
    assert writer.tokenizer.decode(array[0]) == text


@pytest.mark.slow
def test_streams_what_it_returns(writer):
    pieces = {0: "", 1: ""}

    def collect(row, piece):
        pieces[row] += piece

    prompts = ["ABC", "9"]
    streamed = writer.generate(prompts, 12, "random", seed=3, callback=collect)
    assert streamed == writer.generate(prompts, 12, "random", seed=3)
    assert [p + pieces[i] for i, p in enumerate(prompts)] == streamed
    ids = []
    whole = writer.generate(
        [[5, 6]], 4, callback=lambda row, token: ids.append(token)
    )
    assert whole == [[5, 6, *ids]]


@pytest.mark.slow
def test_stop_strings_end_a_text_and_are_left_out(writer):
    free = writer.generate("ABC", 30, "random", seed=1)
    stop = free[10:13]
    expected = free[: free.index(stop, 3)]
    pieces = []
    for callback in (None, lambda row, piece: pieces.append(piece)):
        assert expected == writer.generate(
            "ABC", 30, "random", 1, stop=stop, callback=callback
        )
    assert "ABC" + "".join(pieces) == expected


def test_a_prompt_of_another_length_is_not_compiled_anew(
    generator, monkeypatch
):
    calls = []
    block = GPT2Decoder._block

    def counted(self, *arguments):
        calls.append(1)
        return block(self, *arguments)

    monkeypatch.setattr(GPT2Decoder, "_block", counted)
    sampler = Random(0.123)  # no other test has compiled it
    generator.generate([[1, 2, 3]], 8, sampler)
    first = len(calls)
    for length, new in ((4, 8), (16, 16), (1, 3)):
        generator.generate([[1] * length], new, sampler)
    if backend.name() == "torch":
        assert bucket(21) == 21
    else:
        assert (bucket(3), bucket(16), bucket(17)) == (16, 16, 32)
        assert len(calls) == first


@pytest.mark.slow
@pytest.mark.skipif(backend.name() != "torch", reason="the others do always")
def test_a_compiled_step_writes_the_same_and_is_compiled_once(
    models, generator
):
    from torch._dynamo.utils import counters

    compiled = Generator(models[1], compiled=True)
    sampler = Random(0.9, top_k=5)
    ours = compiled.generate(PROMPTS[:1], 16, sampler, seed=1)
    assert ours == generator.generate(PROMPTS[:1], 16, sampler, seed=1)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    for length in (4, 7, 12):
        compiled.generate([[1] * length], 16, sampler)
    assert counters["stats"]["unique_graphs"] == graphs


@pytest.mark.slow
def test_a_model_generates_with_the_weights_it_has(models):
    model = GPT2(VOCABULARY, 1, 2, 8, max_length=32)
    before = model.generate([[1, 2]], max_new_tokens=8)
    model.set_weights(
        [
            np.cos(np.arange(w.size)).reshape(w.shape)
            for w in model.get_weights()
        ]
    )
    after = model.generate([[1, 2]], max_new_tokens=8)
    assert before != after


def test_low_precision_runs():
    model = GPT2(VOCABULARY, 1, 2, 8, max_length=64, dtype="bfloat16")
    assert len(model.generate(PROMPTS, max_new_tokens=5)[0]) == 14


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ("", {}, "at least one token"),
        ([], {}, "at least one token"),
        ([[]], {}, "at least one token"),
        ([[0.5]], {}, "sequence of token ids"),
        ([[1, [2]]], {}, "sequence of token ids"),
        (5, {}, "prompts must be a text"),
        ([[61]], {}, r"must lie in \[0, 61\)"),
        ("A" * 60, {"max_new_tokens": 5}, "holds 64 tokens"),
        ("A", {"max_new_tokens": 0}, "max_new_tokens must be"),
        ("A", {"sampler": "best"}, "unknown sampler 'best'"),
        ("A", {"seed": -1}, "seed must lie"),
        ("A", {"stop": [""]}, "must not be empty"),
        ([[1]], {"stop": "x"}, "need prompts that are texts"),
        ("A", {"top_k": 5}, "no argument 'top_k'"),
        ("A", {"sampler": "beam", "callback": print}, "beam search"),
    ],
)
def test_says_what_is_wrong(prompts, options, message, writer):
    with pytest.raises(UsageError, match=message):
        writer.generate(prompts, **{"max_new_tokens": 4, **options})


def test_texts_need_a_tokenizer(generator):
    with pytest.raises(UsageError, match="has no tokenizer"):
        generator.generate("text")


def test_beams_equal_transformers(models, generator):
    for beam, stops in (
        (Beam(3), []),
        (Beam(4, 0.5), [3, 17, 20, 33, 41]),
    ):
        ours = generator.generate(PROMPTS, 12, beam, stop_ids=stops)
        for prompt, text in zip(PROMPTS, ours, strict=True):
            expected = theirs(
                models[0],
                prompt,
                max_new_tokens=12,
                do_sample=False,
                num_beams=beam.num_beams,
                length_penalty=beam.length_penalty,
                eos_token_id=stops or None,
            )
            assert text == expected


@pytest.mark.slow
def test_wide_beams_equal_a_search_of_all_texts():
    backend.seed(0)
    model = GPT2(4, 1, 1, 4, max_length=8)
    model.build()
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(0, 1, w.shape) for w in model.weights])
    ours = Generator(model).generate([[0, 1]], 3, Beam(16))
    texts = [[0, 1, *rest] for rest in product(range(4), repeat=3)]
    scores = Generator(model).score(texts)
    best = max(scores, key=lambda score: sum(score.log_probabilities[1:]))
    assert ours[0][1:] == best.token_ids


def test_scores_equal_transformers(models, generator):
    import torch

    texts = PROMPTS[:3]
    for score, ids in zip(generator.score(texts), texts, strict=True):
        with torch.no_grad():
            logits = models[0](torch.tensor([ids])).logits[0, :-1]
        shares = torch.log_softmax(logits, -1)
        expected = shares[range(len(ids) - 1), ids[1:]].numpy()
        assert score.token_ids == ids[1:]
        np.testing.assert_allclose(
            score.log_probabilities, expected, rtol=1e-4, atol=1e-4
        )
        assert score.perplexity == pytest.approx(
            np.exp(-expected.mean()), rel=1e-4
        )


@pytest.mark.slow
def test_scores_texts_from_their_first_token(writer):
    (score,) = writer.score("AB")
    (same,) = writer.score([[VOCABULARY - 1, *writer.tokenizer.encode("AB")]])
    assert score == same
    assert score.log_probability == pytest.approx(sum(score.log_probabilities))
    for bad in ([[1]], [[1] * 66]):
        with pytest.raises(UsageError, match="at most 65"):
            writer.score(bad)
    assert len(writer.score([[1] * 65])[0].token_ids) == 64
