import dataclasses
import json

import numpy as np
import pytest
from keras import ops
from scipy.special import log_softmax

from keras_multi import data
from keras_multi.errors import DataError, UsageError
from recsys.retrieval.data import load
from recsys.retrieval.evaluate import evaluate, load_run
from recsys.retrieval.inputs import Inputs
from recsys.retrieval.recipe import RetrievalRecipe
from recsys.retrieval.seeds import run_seeds
from recsys.retrieval.train import build, examples, train, validate
from tests import precision_case
from tests.recsys.retrieval.small import ITEMS, small_table

TINY = {
    "windows": [2, 4],
    "embedding_dim": 8,
    "units": [8],
    "epochs": 3,
    "batch_size": 64,
}


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name: small_table())


def recipe(**changes):
    return RetrievalRecipe.of(**{**TINY, **changes})


@pytest.mark.slow
def test_the_precision_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path / "cache"))
    precision_case.use(monkeypatch, 0.5)
    wanted = recipe(precision="auto", epochs=1)
    train(wanted, tmp_path / "run", progress=False)
    assert load_run(tmp_path / "run").recipe.precision == "mixed_bfloat16"


@pytest.mark.slow
def test_a_run_is_saved_and_evaluates_to_the_same_figures(tmp_path):
    result = train(recipe(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "history.json",
        "item_features.json",
        "metrics.json",
        "model.keras",
        "recipe.json",
        "user_features.json",
    }
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    again = evaluate(tmp_path)
    assert again["test"] == pytest.approx(result["test"], rel=1e-6)
    run = load_run(tmp_path)
    assert run.recipe == recipe()
    test = load("movielens-100k", "random").test
    assert run.user_vectors(test).shape == (len(test), 8)
    assert run.item_vectors().shape == (ITEMS, 8)
    # The same training once more gives the same result.
    assert train(recipe(), tmp_path) == result


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["random", "leave-last-out"])
def test_finds_what_users_like(tmp_path, protocol):
    """A user likes a third of the items, mostly."""
    result = train(
        recipe(protocol=protocol, epochs=15, learning_rate=0.02, dropout=0.0),
        tmp_path,
    )
    assert result["test"]["top_10_excluding_seen"] > 0.7
    assert validate(recipe(protocol=protocol))["top_50"] == 1


@pytest.mark.slow
def test_test_rows_play_no_part_in_training(tmp_path, monkeypatch):
    train(recipe(), tmp_path / "a")
    table = small_table()
    # The split permutes the rows; the last fifth is the test part.
    order = np.random.default_rng(42).permutation(len(table))
    held_out = order[round(0.8 * len(table)) :]
    for column in ("rating", "timestamp", "age"):
        table.columns[column][held_out] = 7
    monkeypatch.setattr(data, "load", lambda name: table)
    train(recipe(), tmp_path / "b")
    a, b = (load_run(tmp_path / run).model for run in "ab")
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_chances_are_those_of_a_batch():
    """An item's chance is its share of the rows and of the extra draws."""
    split = load("movielens-100k", "random")
    for extra in (False, True):
        settings = recipe(extra_negatives=extra, logq=0.5)
        inputs = Inputs.fit(settings, split)
        x, items = examples(settings, inputs, split)
        share = np.array([(items == i).mean() for i in range(ITEMS)])
        if extra:
            share = (share + 1 / ITEMS) / 2
            ids = x["extra"]["id"]
            np.testing.assert_allclose(
                x["extra"]["sampling_probability"],
                np.sqrt(share[ids]),
                rtol=1e-6,
            )
            assert len(set(ids.tolist())) == ITEMS
        np.testing.assert_allclose(
            x["sampling_probability"], np.sqrt(share[items]), rtol=1e-6
        )


def test_the_loss_is_that_of_the_recipe():
    split = load("movielens-100k", "random")
    settings = recipe(temperature=0.3, normalize=True, dropout=0.0)
    inputs = Inputs.fit(settings, split)
    model = build(settings, inputs, len(split.train))
    x, items = examples(settings, inputs, split)
    outputs = model(x)
    query, candidate = (
        ops.convert_to_numpy(outputs[name]).astype("float64")
        for name in ("query", "candidate")
    )
    logits = candidate @ query.T / 0.3
    logits = logits.T - np.log(x["sampling_probability"])
    expected = []
    for i, row in enumerate(logits):
        wrong = row[items != items[i]]
        expected.append(-log_softmax([row[i], *wrong])[0])
    loss = model.compute_loss(x, items, outputs)
    assert ops.convert_to_numpy(loss) == pytest.approx(
        np.mean(expected), rel=1e-5
    )


@pytest.mark.slow
def test_seeds_are_summarised_and_finished_ones_kept(tmp_path):
    result = run_seeds(recipe(), 2, tmp_path)
    assert result["seeds"] == [42, 43]
    values = [run["test"]["top_10"] for run in result["runs"]]
    assert result["test"]["top_10"] == pytest.approx(np.mean(values))
    assert result["test_std"]["top_10"] == pytest.approx(np.std(values, ddof=1))
    before = (tmp_path / "42" / "model.keras").stat().st_mtime_ns
    assert run_seeds(recipe(), 2, tmp_path) == result
    assert (tmp_path / "42" / "model.keras").stat().st_mtime_ns == before


@pytest.mark.parametrize("features", ["ids", "time", "all"])
@pytest.mark.parametrize("protocol", ["random", "leave-last-out"])
def test_defaults_are_recipes(protocol, features):
    default = RetrievalRecipe.of(protocol=protocol, features=features)
    fields = json.loads(json.dumps(dataclasses.asdict(default)))
    assert RetrievalRecipe.of_json(fields) == default


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"protocol": "later"}, "unknown protocol 'later'"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 1.5}, "epochs must be of type int"),
        ({"windows": [0]}, "windows must hold positive integers"),
        ({"windows": [2, 2]}, "windows must hold no number twice"),
        ({"units": []}, "units must not be empty"),
        ({"dropout": 1}, r"dropout must lie in \[0, 1\)"),
        ({"temperature": 0}, "temperature must be more than 0"),
        ({"logq": -1}, "logq must not be negative"),
        ({"widths": 1}, "no field 'widths'"),
    ],
)
def test_a_bad_recipe_is_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        RetrievalRecipe.of(**fields)


@pytest.mark.slow
def test_a_damaged_run_is_named(tmp_path):
    with pytest.raises(DataError, match=r"metrics\.json"):
        load_run(tmp_path)
    train(recipe(epochs=1), tmp_path)
    (tmp_path / "recipe.json").write_text('{"epochs": 0}')
    with pytest.raises(DataError, match=r"recipe\.json"):
        evaluate(tmp_path)
