import dataclasses
import json

import numpy as np
import pytest
from sklearn.model_selection import KFold

from keras_multi import data
from keras_multi.data import Table
from keras_multi.errors import KerasMultiError, UsageError
from recsys.rating import cross_validation
from recsys.rating.cross_validation import (
    CHOICES,
    choose,
    cross_validate,
    fit,
    fold_numbers,
    summarize,
)
from recsys.rating.recipe import RatingRecipe
from recsys.recipe import Recipe
from tests.recsys.rating.small import ratings


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name: ratings())


def recipe(model="factor-network", **changes):
    options = {"epochs": 1, "batch_size": 64, "embedding_dim": 4, **changes}
    if model in ("dcn", "dnn"):
        return Recipe.of("movielens-100k", model, **options)
    return RatingRecipe.of(model, **options)


def test_folds_are_equal_disjoint_and_fixed():
    numbers = fold_numbers(100, 5)
    assert np.bincount(numbers).tolist() == [20] * 5
    np.testing.assert_array_equal(numbers, fold_numbers(100, 5))
    # In the manner of scikit-learn: each row is tested once.
    tested = [test for _, test in KFold(5).split(np.arange(100))]
    assert sorted(map(len, tested)) == sorted(np.bincount(numbers))


@pytest.mark.slow
@pytest.mark.parametrize("model", list(CHOICES))
def test_labels_of_test_rows_play_no_part(model):
    """Permuted or NaN, no prediction changes: not by a bit.

    Nor does it matter which other rows are predicted at the same time.
    """
    table = ratings()
    numbers = fold_numbers(len(table), 5)
    in_test = numbers == 0

    def predictions(labels):
        other = table["rating"].copy()
        other[in_test] = labels
        changed = Table(
            table.name, {**table.columns, "rating": other}, table.target
        )
        predict = fit(recipe(model), changed.take(~in_test), progress=False)
        test = changed.take(in_test)
        together = predict(test)
        halves = [predict(test.take(slice(i, i + 24))) for i in (0, 24)]
        np.testing.assert_allclose(np.concatenate(halves), together, rtol=1e-5)
        return together

    true = table["rating"][in_test]
    labels = np.random.default_rng(0).permutation(true)
    labels[::2] = np.nan
    np.testing.assert_array_equal(predictions(labels), predictions(true))


@pytest.mark.slow
def test_the_choice_does_not_see_the_test_fold(tmp_path, monkeypatch):
    """All rows that are trained on or chosen by are rows of other folds."""
    seen = []

    def spy(recipe, table, progress):
        seen.append(set(zip(table["user_id"], table["item_id"], strict=True)))
        return lambda rows: (
            seen.append(
                set(zip(rows["user_id"], rows["item_id"], strict=True))
            ),
            np.full(len(rows), 3.0),
        )[1]

    monkeypatch.setattr(cross_validation, "fit", spy)
    cross_validate(
        recipe(),
        tmp_path,
        seeds=1,
        only_folds=[2],
        choices=[{"epochs": 1}, {"epochs": 2}],
    )
    table = ratings()
    in_test = fold_numbers(len(table), 5) == 2
    pairs = list(zip(table["user_id"], table["item_id"], strict=True))
    test = {pair for pair, t in zip(pairs, in_test, strict=True) if t}
    *chosen, last_train, last_test = seen
    assert len(chosen) == 4
    assert all(not rows & test for rows in chosen)
    assert last_train == set(pairs) - test
    assert last_test == test


def test_the_best_choice_wins(tmp_path, monkeypatch):
    def fake(recipe, train, test, path, progress):
        return {"test": {"rmse": abs(recipe.epochs - 2.9)}}

    monkeypatch.setattr(cross_validation, "_measure", fake)
    choices = [{"epochs": n} for n in (1, 2, 3, 4)]
    assert choose(recipe(), ratings(), choices, tmp_path) == {"epochs": 3}


def constant(recipe, table, progress):
    """A model whose error depends on its recipe and its training rows."""
    value = table["rating"].mean() + recipe.epochs / 7 + recipe.seed / 50
    return lambda rows: np.full(len(rows), value)


@pytest.mark.slow
def test_all_is_measured_kept_and_summarized(tmp_path, monkeypatch):
    monkeypatch.setattr(cross_validation, "fit", constant)
    choices = [{"epochs": 1}, {"epochs": 2}]
    arguments = {"folds": 3, "seeds": 2, "choices": choices, "progress": False}
    result = cross_validate(recipe("factors"), tmp_path, **arguments)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert [(run["fold"], run["seed"]) for run in result["runs"]] == [
        (fold, seed) for fold in range(3) for seed in (42, 43)
    ]
    rmse = np.array([run["test"]["rmse"] for run in result["runs"]])
    rmse = rmse.reshape(3, 2)
    assert result["test"]["rmse"] == pytest.approx(rmse.mean())
    assert result["fold_std"]["rmse"] == pytest.approx(
        np.std(rmse.mean(1), ddof=1)
    )
    assert result["seed_std"]["rmse"] == pytest.approx(
        np.std(rmse.mean(0), ddof=1)
    )
    assert result["chosen"] == {str(fold): {"epochs": 1} for fold in range(3)}
    # A call that was killed goes on with what is missing.
    kept = tmp_path / "fold-1" / "seed-43.json"
    before = kept.stat().st_mtime_ns
    (tmp_path / "fold-1" / "seed-42.json").unlink()
    again = cross_validate(recipe("factors"), tmp_path, **arguments)
    assert kept.stat().st_mtime_ns == before
    assert again["test"] == pytest.approx(result["test"])
    with pytest.raises(KerasMultiError, match="another recipe or backend"):
        cross_validate(
            dataclasses.replace(recipe("factors"), embedding_dim=2),
            tmp_path,
            **arguments,
        )


def test_one_fold_and_seed_have_no_deviation():
    run = {"fold": 0, "seed": 1, "test": {"rmse": 0.9}}
    assert summarize([run]) == {"test": {"rmse": pytest.approx(0.9)}}


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(UsageError, match="at least 2 folds"):
        cross_validate(recipe(), tmp_path, folds=1)
    with pytest.raises(UsageError, match="data='adult'"):
        cross_validate(Recipe.of("adult"), tmp_path)
