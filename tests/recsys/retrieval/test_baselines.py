import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

from keras_multi import data
from keras_multi.errors import UsageError
from recsys.retrieval import baselines
from recsys.retrieval.baselines import als, evaluate, item_knn, popularity, tune
from recsys.retrieval.data import load
from tests.recsys.retrieval.small import small_table

MATRIX = sparse.csr_matrix(
    np.random.default_rng(0).uniform(size=(12, 9)) < 0.4, dtype=float
)
DENSE = MATRIX.toarray()


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name: small_table())


def test_popularity_counts_users():
    users, items = popularity(MATRIX)
    np.testing.assert_array_equal((users @ items.T)[3], DENSE.sum(axis=0))


def test_neighbours_equal_scikit_learn():
    alike = cosine_similarity(DENSE.T)
    np.fill_diagonal(alike, 0)
    users, items = item_knn(MATRIX, neighbours=100, shrinkage=0.0)
    np.testing.assert_allclose(users @ items.T, DENSE @ alike, atol=1e-12)
    # Of each item only its two nearest count (random data have no ties).
    users, items = item_knn(MATRIX, neighbours=2, shrinkage=0.0)
    for item in range(9):
        kept = items[item] > 0
        assert set(alike[item][kept]) >= set(np.sort(alike[item])[-2:])
        assert alike[item][kept].min() >= np.sort(alike[item])[-2]
    _, shrunk = item_knn(MATRIX, neighbours=100, shrinkage=5.0)
    both = (DENSE[:, 1] * DENSE[:, 2]).sum()
    norm = np.sqrt(DENSE[:, 1].sum() * DENSE[:, 2].sum())
    assert shrunk[1, 2] == pytest.approx(both / (norm + 5))


def test_als_solves_its_normal_equations():
    """After the last half step the items are the optimum for the users."""
    users, items = als(
        MATRIX, factors=3, regularization=0.5, alpha=4.0, iterations=300
    )
    for item in range(9):
        confidence = 1 + 3 * DENSE[:, item]
        left = (users * confidence[:, None]).T @ users + 0.5 * np.eye(3)
        right = users.T @ (4 * DENSE[:, item])
        np.testing.assert_allclose(
            items[item], np.linalg.solve(left, right), atol=1e-2
        )


@pytest.mark.parametrize("name", ["popularity", "item-knn", "als"])
def test_settings_are_chosen_on_validation_rows(name, monkeypatch):
    grids = {
        "popularity": {},
        "item-knn": {"neighbours": (1, 20), "shrinkage": (1.0,)},
        "als": {
            "factors": (1, 3),
            "regularization": (1.0,),
            "alpha": (2.0,),
            "iterations": (5,),
        },
    }
    monkeypatch.setattr(baselines, "GRIDS", grids)
    metric = "ndcg_10_excluding_seen"
    result = tune(name, "movielens-100k", "random", metric)
    if name != "popularity":
        assert result["tried"] == 2
        assert result["test"]["top_10_excluding_seen"] > 0.6
    inner = load("movielens-100k", "random", validation=True)
    best = evaluate(name, inner, result["settings"])
    assert result["validation"] == best
    outer = load("movielens-100k", "random")
    assert result["test"] == evaluate(name, outer, result["settings"])


def test_bad_input_is_named():
    with pytest.raises(UsageError, match="unknown baseline 'svd'"):
        tune("svd", "movielens-100k", "random", "top_10")
    split = load("movielens-100k", "random")
    split.test.columns["user_id"][:2] = 999
    with pytest.raises(UsageError, match="2 rows of such users"):
        evaluate("popularity", split, {})
