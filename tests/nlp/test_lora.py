"""Low-rank adaptation and fine-tuning."""

import keras
import numpy as np
import pytest

import nlp.data
from keras_multi.errors import UsageError
from nlp import GPT2, Tokenizer, lora
from nlp.recipe import Recipe
from nlp.train import evaluate, metrics, train

IDS = np.array([[3, 1, 4, 1, 5]])


def test_few_weights_train_and_are_merged():
    model = GPT2(20, num_layers=1, num_heads=2, hidden_dim=8, dropout=0.0)
    before = keras.ops.convert_to_numpy(model(IDS))
    lora.add(model, rank=2)
    after = keras.ops.convert_to_numpy(model(IDS))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
    shapes = [tuple(v.shape) for v in model.trainable_variables]
    assert sorted(shapes) == sorted(
        [(8, 2), (2, 24), (8, 2), (2, 8), (8, 2), (2, 32), (32, 2), (2, 8)]
    )
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    dense = model.blocks[0].expand
    kernel, _, a, b = (np.asarray(w) for w in dense.get_weights())
    plain = lora.merged(model)
    merged = plain.blocks[0].expand.get_weights()[0]
    np.testing.assert_allclose(merged, kernel + a @ b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(plain(IDS)),
        keras.ops.convert_to_numpy(model(IDS)),
        rtol=1e-4,
        atol=1e-5,
    )
    assert plain.count_params() < model.count_params()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [{}, {"accumulation": 2}, {"lora_rank": 2, "accumulation": 2}]
)
def test_fine_tunes_a_preset(tmp_path, fields):
    text = "the quick brown fox jumps over the lazy dog. " * 40
    (tmp_path / "fox.txt").write_text(text)
    base = GPT2(
        260, 1, 2, 16, max_length=16, tokenizer=Tokenizer.train([text], 260)
    )
    base.save_to_preset(tmp_path / "base")
    recipe = Recipe.of(
        data=str(tmp_path / "fox.txt"),
        preset=str(tmp_path / "base"),
        length=16,
        batch_size=8,
        epochs=2,
        learning_rate=0.02,
        **fields,
    )
    result = train(recipe, tmp_path / "run", progress=False)
    test = nlp.data.load(recipe.data).test
    untuned = metrics(base, test, recipe)["perplexity"]
    assert result["test"]["perplexity"] < 0.95 * untuned
    for name, value in evaluate(tmp_path / "run")["test"].items():
        assert value == pytest.approx(result["test"][name], rel=1e-4)
    tuned = GPT2.from_preset(tmp_path / "run" / "model")
    same = np.allclose(
        tuned.tokens.get_weights()[0], base.tokens.get_weights()[0]
    )
    assert same == ("lora_rank" in fields)


def test_says_what_does_not_fit(tmp_path):
    with pytest.raises(UsageError, match="be 0 without a preset"):
        Recipe.of(lora_rank=2)
    with pytest.raises(UsageError, match="accumulation"):
        Recipe.of(accumulation=0)
    GPT2(260, 1, 2, 16, max_length=8).save_to_preset(tmp_path)
    recipe = Recipe.of(preset=str(tmp_path), length=16)
    with pytest.raises(UsageError, match=r"at least 16 positions.*=8"):
        train(recipe, tmp_path / "run", progress=False)
