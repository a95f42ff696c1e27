import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend, data
from keras_multi.errors import DataError, KerasMultiError, UsageError
from recsys import DCN, ListRanker
from recsys.ranking.evaluate import evaluate, load_run, split
from recsys.ranking.recipe import ListRecipe
from recsys.ranking.train import train, train_seeds, validate
from tests import precision_case
from tests.recsys.ranking.tiny import train_test

TINY = ListRecipe(
    lists_per_user=4,
    parts=2,
    epochs=2,
    batch_size=16,
    embedding_dim=4,
    deep_units=(8,),
)


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr(data, "train_test", train_test)


def changed(**fields):
    return dataclasses.replace(TINY, **fields)


@pytest.mark.slow
def test_the_precision_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path / "cache"))
    precision_case.use(monkeypatch, 0.5)
    wanted = changed(precision="auto", epochs=1)
    train(wanted, tmp_path / "run", progress=False)
    assert load_run(tmp_path / "run").recipe.precision == "mixed_bfloat16"


def test_a_list_is_scored_like_its_rows(tmp_path):
    backend.seed(0)
    scorer = DCN((7, 5), 1, embedding_dim=4, deep_units=(8,))
    ranker = ListRanker(scorer)
    rng = np.random.default_rng(0)
    inputs = {
        "categorical": rng.integers(0, 5, (6, 3, 2)).astype("int32"),
        "dense": rng.normal(size=(6, 3, 1)).astype("float32"),
    }
    scores = ops.convert_to_numpy(ranker(inputs))
    rows = {name: part.reshape(18, -1) for name, part in inputs.items()}
    expected = ops.convert_to_numpy(scorer(rows)).reshape(6, 3)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    ranker.save(tmp_path / "ranker.keras")
    loaded = keras.saving.load_model(tmp_path / "ranker.keras")
    np.testing.assert_array_equal(
        loaded.predict(inputs, verbose=0), ranker.predict(inputs, verbose=0)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "names"),
    [
        ("mse", {"ndcg_at_5", "linear_ndcg_at_5", "rmse", "mae"}),
        (
            "click",
            {"ndcg_at_5", "linear_ndcg_at_5", "auc", "log_loss", "accuracy"},
        ),
        ("hinge", {"ndcg_at_5", "linear_ndcg_at_5"}),
        ("logistic", {"ndcg_at_5", "linear_ndcg_at_5"}),
        ("list_mle", {"ndcg_at_5", "linear_ndcg_at_5"}),
        ("softmax", {"ndcg_at_5", "linear_ndcg_at_5"}),
    ],
)
def test_a_run_learns_and_is_saved(loss, names, tmp_path):
    recipe = changed(loss=loss, parts=0, epochs=20, learning_rate=0.02)
    result = train(recipe, tmp_path)
    assert set(result["test"]) == names
    assert result["test"]["ndcg_at_5"] > 0.95
    files = {path.name for path in tmp_path.iterdir()}
    assert files - {"calibration.png"} == {
        "features.json",
        "history.json",
        "metrics.json",
        "model.keras",
        "recipe.json",
    }
    assert ("calibration.png" in files) == (loss == "click")
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert load_run(tmp_path).recipe == recipe
    again = evaluate(tmp_path)
    assert again["rows"] == 200
    assert again["test"] == pytest.approx(result["test"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "networks"), [(0, 0), (2, 1)])
def test_test_rows_play_no_part_in_training(
    parts, networks, tmp_path, monkeypatch
):
    weights = []
    for strange in (False, True):
        known, test = train_test("")
        if strange:
            test.columns["rating"][:] = 1.0
            test.columns["user_id"][:] = 777
        monkeypatch.setattr(
            data, "train_test", lambda name, parts=(known, test): parts
        )
        folder = tmp_path / str(strange)
        train(changed(parts=parts, networks=networks), folder)
        weights.append(
            keras.saving.load_model(folder / "model.keras").get_weights()
        )
    for x, y in zip(*weights, strict=True):
        np.testing.assert_array_equal(x, y)


def test_validation_rows_are_a_part_of_the_training_rows():
    known, test = split("movielens-100k")
    rest, validation = split("movielens-100k", validation=True)
    assert (len(known), len(test)) == (400, 200)
    assert (len(rest), len(validation)) == (320, 80)
    both = np.concatenate([rest["timestamp"], validation["timestamp"]])
    np.testing.assert_array_equal(np.sort(both), np.sort(known["timestamp"]))


def test_a_damaged_run_is_named(tmp_path):
    with pytest.raises(DataError, match=r"metrics\.json.* finished"):
        load_run(tmp_path)
    train(changed(networks=1), tmp_path)
    files = ("model.keras", "network-1.keras", "recipe.json", "features.json")
    for name in files:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=name):
            load_run(tmp_path)
        (tmp_path / name).write_bytes(content)


@pytest.mark.slow
def test_validation_sees_no_test_row(monkeypatch):
    figures = validate(TINY)
    assert set(figures) == {"ndcg_at_5", "linear_ndcg_at_5"}
    known, test = train_test("")
    test.columns["rating"][:] = np.nan
    monkeypatch.setattr(data, "train_test", lambda name: (known, test))
    assert validate(TINY) == figures


@pytest.mark.slow
def test_seeds_are_averaged_and_resumed(tmp_path):
    result = train_seeds(TINY, 2, tmp_path)
    values = [run["test"]["ndcg_at_5"] for run in result["runs"]]
    assert result["seeds"] == [42, 43]
    assert len(set(values)) == 2
    assert result["test"]["ndcg_at_5"] == pytest.approx(np.mean(values))
    assert result["test_std"]["ndcg_at_5"] == pytest.approx(
        np.std(values, ddof=1)
    )
    model = tmp_path / "43/model.keras"
    before = model.stat().st_mtime_ns
    assert train_seeds(TINY, 2, tmp_path) == result
    assert model.stat().st_mtime_ns == before
    # Another recipe takes nothing over.
    train_seeds(changed(epochs=1), 2, tmp_path)
    assert model.stat().st_mtime_ns > before


@pytest.mark.slow
def test_a_killed_run_goes_on_only_with_its_own_recipe(tmp_path, monkeypatch):
    expected = train(changed(loss="hinge"), tmp_path / "whole")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("recsys.ranking.train.judge", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(changed(loss="hinge"), tmp_path / "killed")
    monkeypatch.undo()
    monkeypatch.setattr(data, "train_test", train_test)
    with pytest.raises(KerasMultiError, match=r"settings.*delete it"):
        train(changed(loss="mse"), tmp_path / "killed")
    again = train(changed(loss="hinge"), tmp_path / "killed")
    assert again == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "none"}, "choose one of mse"),
        ({"data": "adult"}, "choose one of movielens-100k"),
        ({"parts": 1}, "parts must be 0 or at least 2"),
        ({"parts": 0, "networks": 1}, "networks must be 0 without parts"),
        ({"list_length": 1}, "list_length must be at least 2"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"embeddings_l2": -1.0}, "embeddings_l2 must not be negative"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"epochs": "3"}, "epochs must be of type int"),
        ({"epoch": 3}, "a recipe has no field 'epoch'"),
    ],
)
def test_recipes_are_checked(fields, message):
    with pytest.raises(UsageError, match=message):
        ListRecipe.of(**fields)
