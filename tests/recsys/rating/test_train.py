import dataclasses
import json

import numpy as np
import pytest

from keras_multi import backend, data
from keras_multi.errors import DataError, UsageError
from recsys.rating.recipe import MODELS, RatingRecipe
from recsys.rating.train import evaluate, fit, load_run, train
from tests.recsys.rating.small import ratings


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    table = ratings()
    parts = table.take(slice(0, 200)), table.take(slice(200, None))
    monkeypatch.setattr(data, "train_test", lambda name: parts)


def recipe(model="factor-network", **changes):
    options = {"epochs": 2, "batch_size": 64, "embedding_dim": 4}
    return RatingRecipe.of(model, **{**options, **changes})


@pytest.mark.parametrize("model", MODELS)
def test_a_run_is_saved_and_evaluates_to_the_same_figures(tmp_path, model):
    result = train(recipe(model), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "history.json",
        "metrics.json",
        "model.keras",
        "recipe.json",
        "training_rows.npz",
    }
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert result["rows"] == {"train": 200, "test": 40}
    assert result["backend"] == backend.name()
    again = evaluate(tmp_path)
    assert again["test"] == pytest.approx(result["test"], rel=1e-6)
    run = load_run(tmp_path)
    assert run.recipe == recipe(model)
    test = data.train_test("movielens-100k")[1]
    error = run.predict(test) - test["rating"]
    assert result["test"]["rmse"] == pytest.approx(
        np.sqrt(np.mean(error**2)), rel=1e-5
    )
    if model == MODELS[0]:  # The same training gives the same result.
        assert train(recipe(model), tmp_path) == result


def test_predictions_stay_in_the_range_of_the_ratings():
    table = ratings()
    run, _ = fit(recipe("factors"), table)
    run.model.mean.assign(99.0)
    assert np.all(run.predict(table) == table["rating"].max())


@pytest.mark.slow
def test_factors_learn_a_planted_product():
    table = ratings(rows=400)
    learned, held_out = table.take(slice(0, 340)), table.take(slice(340, None))
    run, history = fit(
        recipe(
            "factors",
            epochs=30,
            batch_size=40,
            learning_rate=0.04,
            factors_l2=0.01,
        ),
        learned,
    )
    error = run.predict(held_out) - held_out["rating"]
    assert np.sqrt(np.mean(error**2)) < 0.7 * held_out["rating"].std()
    assert history.epochs == 30


@pytest.mark.slow
def test_a_damaged_run_is_named(tmp_path):
    with pytest.raises(DataError, match=r"metrics\.json.* finished"):
        load_run(tmp_path)
    train(recipe(), tmp_path)
    for name in ("model.keras", "recipe.json", "training_rows.npz"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            load_run(tmp_path)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "recipe.json").write_text('{"model": "other"}')
    with pytest.raises(DataError, match="does not hold a recipe"):
        load_run(tmp_path)


def test_recipes_are_checked():
    for bad, message in [
        ({"model": "none"}, "choose one of factors"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": "3"}, "epochs must be of type int"),
        ({"epoch": 3}, "no field 'epoch'"),
        ({"time": 1}, "time must be of type bool"),
        ({"learning_rate": 0}, "learning_rate must be positive"),
        ({"dropout": 1.0}, "dropout"),
        ({"factors_l2": -1}, "factors_l2"),
        ({"deep_units": [0]}, "deep_units"),
        ({"model": "factors", "explicit": True}, "have no history"),
    ]:
        with pytest.raises(UsageError, match=message):
            RatingRecipe.of(**bad)
    made = RatingRecipe.of("svd-pp", deep_units=[8, 4], factors_l2=1)
    assert (made.deep_units, made.factors_l2) == ((8, 4), 1.0)
    assert RatingRecipe.of(**dataclasses.asdict(made)) == made
    assert RatingRecipe.of("factors").histories == ()
    assert RatingRecipe.of("svd-pp").histories == ("user",)
    assert RatingRecipe.of().histories == ("user", "item")
