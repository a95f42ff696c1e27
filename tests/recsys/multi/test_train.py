import dataclasses
import json

import numpy as np
import pytest
from keras import ops
from sklearn.metrics import roc_auc_score

from keras_multi import data
from keras_multi.errors import DataError, UsageError
from recsys.multi.evaluate import evaluate, load_run
from recsys.multi.recipe import MultiRecipe
from recsys.multi.train import train, train_seeds, validate
from tests import precision_case
from tests.recsys.ranking.tiny import ratings

TINY = MultiRecipe(
    tasks=("rating", "click"),
    epochs=2,
    batch_size=64,
    embedding_dim=4,
    units=(8,),
    windows=(3,),
    expert_units=(8,),
    num_experts=2,
)


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name: ratings())


def rows():
    """The training and test rows of the small table."""
    return data.random_split(ratings(), (0.8, 0.2), seed=42)


@pytest.mark.slow
def test_the_precision_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path / "cache"))
    precision_case.use(monkeypatch, 0.5)
    wanted = dataclasses.replace(TINY, precision="auto", epochs=1)
    train(wanted, tmp_path / "run", progress=False)
    assert load_run(tmp_path / "run").recipe.precision == "mixed_bfloat16"


@pytest.mark.slow
def test_a_run_is_saved_and_evaluates_to_the_same_figures(tmp_path):
    result = train(TINY, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "history.json",
        "item_features.json",
        "metrics.json",
        "model.keras",
        "recipe.json",
        "user_features.json",
    }
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert load_run(tmp_path).recipe == TINY
    again = evaluate(tmp_path)
    assert again["rows"] == 120
    assert again["test"] == pytest.approx(result["test"], rel=1e-4)


@pytest.mark.slow
def test_figures_equal_numpy(tmp_path):
    result = train(TINY, tmp_path)["test"]
    run = load_run(tmp_path)
    _, test = rows()
    true = test["item_id"]  # The items of the table are 0 to 39.
    user = run.inputs.users(test)
    scores = ops.convert_to_numpy(run.model.user_tower(user)) @ (
        ops.convert_to_numpy(run.model.item_tower(run.inputs.corpus())).T
    )
    ranks = (scores > scores[np.arange(len(true)), true, None]).sum(axis=1)
    for k in (1, 5, 10):
        assert result[f"top_{k}"] == pytest.approx(np.mean(ranks < k), abs=0.02)
    outputs = run.model(run.pairs(test, true))
    rating = ops.convert_to_numpy(outputs["rating"])
    error = rating - test["rating"]
    assert result["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
    click = ops.convert_to_numpy(outputs["click"])
    auc = roc_auc_score(test["rating"] >= 4, click)
    assert result["auc"] == pytest.approx(auc, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("weighting", ["fixed", "uncertainty"])
def test_learns_both_tasks(weighting, tmp_path):
    recipe = dataclasses.replace(
        TINY, weighting=weighting, epochs=30, tasks=("rating",), num_experts=1
    )
    result = train(recipe, tmp_path)["test"]
    _, test = rows()
    assert result["rmse"] < 0.8 * test["rating"].std()
    history = json.loads((tmp_path / "history.json").read_text())
    losses = history["metrics"]["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_test_rows_play_no_part_in_training(tmp_path, monkeypatch):
    weights = []
    for strange in (False, True):
        table = ratings()
        if strange:
            held_out = np.random.default_rng(42).permutation(600)[480:]
            table.columns["rating"][held_out] = 1.0
            table.columns["user_id"][held_out] = 777
        monkeypatch.setattr(data, "load", lambda name, table=table: table)
        train(TINY, tmp_path / str(strange))
        weights.append(load_run(tmp_path / str(strange)).model.get_weights())
    for x, y in zip(*weights, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_validation_sees_no_test_row(monkeypatch):
    figures = validate(TINY)
    table = ratings()
    held_out = np.random.default_rng(42).permutation(600)[480:]
    table.columns["rating"][held_out] = np.nan
    monkeypatch.setattr(data, "load", lambda name: table)
    assert validate(TINY) == figures


@pytest.mark.slow
def test_seeds_are_averaged(tmp_path):
    recipe = dataclasses.replace(TINY, epochs=1)
    result = train_seeds(recipe, 2, tmp_path)
    values = [run["test"]["top_5"] for run in result["runs"]]
    assert result["test"]["top_5"] == pytest.approx(np.mean(values))
    assert train_seeds(recipe, 2, tmp_path) == result


@pytest.mark.slow
def test_a_damaged_run_is_named(tmp_path):
    with pytest.raises(DataError, match=r"metrics\.json.* finished"):
        load_run(tmp_path)
    train(TINY, tmp_path)
    for name in ("model.keras", "recipe.json", "user_features.json"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=name):
            load_run(tmp_path)
        (tmp_path / name).write_bytes(content)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": ("none",)}, "choose one of rating"),
        ({"tasks": ()}, "at least one task"),
        ({"weighting": "none"}, "choose one of fixed"),
        ({"temperature": 0.0}, "temperature must be more than 0"),
        ({"expert_units": ()}, "expert_units must not be empty"),
        ({"head_units": [8, 0]}, "head_units must hold positive"),
        ({"tasks": [1]}, "tasks must be of type"),
        ({"task": "rating"}, "a recipe has no field 'task'"),
        ({"num_experts": 0}, "num_experts must be at least 1"),
        ({"retrieval_weight": -1.0}, "retrieval_weight must not be negative"),
    ],
)
def test_recipes_are_checked(fields, message):
    with pytest.raises(UsageError, match=message):
        MultiRecipe.of(**fields)
