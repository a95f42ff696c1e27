import json

import numpy as np
import pytest
from keras import ops
from scipy import stats
from sklearn.metrics import ndcg_score

from keras_multi import data
from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from recsys.cold_start import data as cold_data
from recsys.cold_start.evaluate import (
    baselines,
    content_scores,
    measure,
    question,
    random_order,
)
from recsys.cold_start.recipe import ColdStartRecipe
from recsys.cold_start.seeds import train_seeds
from recsys.cold_start.train import evaluate, load_run, scores, train

KINDS = np.array(["Action", "Comedy", "Drama", "Horror"])
USERS, ITEMS = 48, 240


def planted(seed=0):
    """Each user likes one genre, told by gender and occupation."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(USERS), 12)
    taste, kind = np.arange(USERS) % 4, np.arange(ITEMS) % 4
    item = np.concatenate(
        [
            rng.choice(np.flatnonzero(kind == taste[u]), 12, replace=False)
            for u in range(USERS)
        ]
    )
    columns = {
        "user_id": user,
        "item_id": 1000 + item,
        "rating": np.full(len(user), 4, np.float32),
        "age": 20 + user % 30,
        "gender": np.array(["F", "M"])[taste[user] % 2],
        "occupation": np.array(["artist", "lawyer"])[taste[user] // 2],
        "zip_code": np.array(["12345", "9876X"])[
            rng.integers(2, size=len(user))
        ],
        "movie_title": np.char.add("The ", KINDS[kind[item]]),
        "release_year": 1980 + item % 7,
        "genres": np.char.add(KINDS[kind[item]], "|Film"),
    }
    return Table("planted", columns, target="rating")


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name: planted())


def recipe(model="cold-items", **changes):
    options = {
        "epochs": 15,
        "batch_size": 64,
        "learning_rate": 0.02,
        "embedding_dim": 8,
        "units": (8,),
        "dropout": 0.0,
    }
    return ColdStartRecipe.of("movielens-100k", model, **{**options, **changes})


@pytest.mark.parametrize("model", ["cold-items", "cold-users"])
def test_nothing_of_what_is_held_out_is_in_training(model):
    one = recipe(model)
    whole = set(planted()[one.column].tolist())
    train_rows, test = cold_data.load(one)
    held_out = set(test[one.column].tolist())
    assert len(held_out) == round(len(whole) / 5)
    assert not held_out & set(train_rows[one.column].tolist())
    inner, validation = cold_data.load(one, validation=True)
    for part in (inner, validation):
        assert not held_out & set(part[one.column].tolist())
    assert len(inner) + len(validation) == len(train_rows)
    other = cold_data.load(recipe(model, seed=43)).test
    assert held_out != set(other[one.column].tolist())


@pytest.mark.slow
def test_features_rank_new_items_and_ids_cannot(tmp_path):
    result = train(recipe(), tmp_path / "a")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "item_features.json",
        "metrics.json",
        "model.keras",
        "recipe.json",
        "user_features.json",
    }
    chance = result["baselines"]["random"]["recall_at_20"]
    assert chance == pytest.approx(20 / result["candidates"])
    assert result["test"]["recall_at_20"] == 1
    assert result["baselines"]["content"]["recall_at_20"] == 1
    ids = train(recipe(inputs="ids"), tmp_path / "b")["test"]["recall_at_20"]
    assert abs(ids - chance) < 0.1
    assert json.loads((tmp_path / "a/metrics.json").read_text()) == result
    assert load_run(tmp_path / "a").recipe == recipe()
    again = evaluate(tmp_path / "a")
    assert again["test"] == pytest.approx(result["test"], rel=1e-6)


@pytest.mark.slow
def test_features_rank_for_new_users_and_ids_cannot(tmp_path):
    result = train(recipe("cold-users"), tmp_path / "a")
    recall = result["test"]["recall_at_20"]
    others = result["baselines"]
    assert recall > 1.5 * others["popularity"]["recall_at_20"]
    assert recall > 2 * others["random"]["recall_at_20"]
    ids = train(recipe("cold-users", inputs="ids"), tmp_path / "b")
    assert recall > 1.5 * ids["test"]["recall_at_20"]


@pytest.mark.slow
def test_only_seed_and_training_rows_decide(tmp_path, monkeypatch):
    one = recipe(epochs=2)
    result = train(one, tmp_path / "a")
    # The same training once more gives the same result.
    assert train(one, tmp_path / "again") == result
    table = planted()
    held_out = set(cold_data.load(one).test["item_id"].tolist())
    rows = np.isin(table["item_id"], list(held_out))
    table.columns["release_year"][rows] = 1800
    table.columns["genres"][rows] = "Strange"
    monkeypatch.setattr(data, "load", lambda name: table)
    train(one, tmp_path / "b")
    a, b = (load_run(tmp_path / run).model for run in "ab")
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_sentences_replace_the_words_of_titles(tmp_path, monkeypatch):
    vectors = np.eye(4, 6, dtype="float32")
    calls = []

    def embed(titles):
        calls.append(titles)
        return vectors[: len(titles)]

    monkeypatch.setattr(cold_data, "embed", embed)
    cold_data._titles.cache_clear()
    one = recipe(titles="sentences", epochs=1)
    result = train(one, tmp_path)
    run, split = load_run(tmp_path), cold_data.load(one)
    assert calls == [[f"The {kind}" for kind in sorted(KINDS)]]
    inputs = cold_data.item_inputs(one, run.item_features, split.test)
    place = [sorted(KINDS).index(t[4:]) for t in split.test["movie_title"]]
    np.testing.assert_allclose(
        inputs["dense"][:, -6:], vectors[place] * np.sqrt(6), rtol=1e-6
    )
    assert "movie_title" not in run.item_features.names
    assert evaluate(tmp_path)["test"] == pytest.approx(result["test"])
    cold_data._titles.cache_clear()


def test_questions_and_metrics_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    for model in ("cold-items", "cold-users"):
        one = recipe(model)
        split = cold_data.load(one)
        asked = question(one, split)
        table = rng.normal(size=asked.labels.shape).astype("float32")
        recalls, ndcgs = [], []
        items = asked.items["item_id"]
        pairs = set(
            zip(
                split.test["user_id"].tolist(),
                split.test["item_id"].tolist(),
                strict=True,
            )
        )
        for user, row in zip(asked.users["user_id"], table, strict=True):
            order = np.argsort(-row)
            hits = [(user, i) in pairs for i in items[order]]
            recalls.append(sum(hits[:20]) / sum(hits))
            truth = [[(user, i) in pairs for i in items]]
            ndcgs.append(ndcg_score(truth, [row], k=20))
        got = measure(table, asked.labels)
        assert got["recall_at_20"] == pytest.approx(np.mean(recalls), rel=1e-5)
        assert got["ndcg_at_20"] == pytest.approx(np.mean(ndcgs), rel=1e-5)
        assert asked.labels.sum() == len(pairs)
        ranked = {
            "cold-items": np.unique(split.test["item_id"]),
            "cold-users": np.unique(planted()["item_id"]),
        }[model]
        assert sorted(items.tolist()) == ranked.tolist()


@pytest.mark.slow
def test_a_random_order_is_the_mean_of_many():
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 60)) < 0.1).astype("float32")
    labels[:, 0] = 1
    labels[0, :35] = 1
    tries = [
        measure(rng.random(labels.shape).astype("float32"), labels)
        for _ in range(200)
    ]
    for name, value in random_order(labels).items():
        values = [t[name] for t in tries]
        assert abs(np.mean(values) - value) < 4 * stats.sem(values)


def test_baselines_are_those_of_numpy():
    one = recipe("cold-users")
    split = cold_data.load(one)
    asked = question(one, split)
    counts = [
        (split.train["item_id"] == item).sum()
        for item in asked.items["item_id"]
    ]
    want = np.tile(np.float32(counts), (len(asked.users), 1))
    got = baselines(one, split, asked)["popularity"]
    assert got == measure(want, asked.labels)
    one = recipe()
    split = cold_data.load(one)
    asked = question(one, split)
    found = content_scores(split, asked)
    user = asked.users["user_id"][0]
    own = split.train["genres"][split.train["user_id"] == user]
    same = np.isin(asked.items["genres"], own)
    assert found[0, same].min() > found[0, ~same].max()


@pytest.mark.slow
def test_seeds_give_means_and_deviations(tmp_path):
    result = train_seeds(recipe(epochs=1), 2, tmp_path)
    assert result["seeds"] == [42, 43]
    values = [run["test"]["recall_at_20"] for run in result["runs"]["features"]]
    assert result["test"]["recall_at_20"] == pytest.approx(np.mean(values))
    assert result["test_std"]["recall_at_20"] == pytest.approx(
        np.std(values, ddof=1)
    )
    assert set(result["baselines"]) == {"random", "content", "ids"}
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    # Finished runs are taken over.
    model = tmp_path / "features-43" / "model.keras"
    before = model.stat().st_mtime_ns
    assert train_seeds(recipe(epochs=1), 2, tmp_path) == result
    assert model.stat().st_mtime_ns == before


@pytest.mark.slow
def test_recipes_are_checked(tmp_path):
    for bad, message in [
        ({"model": "warm"}, "choose one of cold-items, cold-users"),
        ({"inputs": "all"}, "choose one of features, ids"),
        ({"titles": "poems"}, "choose one of none, words, sentences"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"share": 1.0}, "share must lie between 0 and 1"),
        ({"units": ()}, "units must hold positive integers"),
        ({"depth": 3}, "no field 'depth'"),
        ({"temperature": 0.0}, "temperature must be more than 0"),
    ]:
        with pytest.raises(UsageError, match=message):
            recipe(**bad)
    with pytest.raises(UsageError, match="unknown data 'x'"):
        ColdStartRecipe.of("x", "cold-items")
    with pytest.raises(DataError, match="finished"):
        evaluate(tmp_path)
    train(recipe(epochs=1), tmp_path)
    path = tmp_path / "recipe.json"
    path.write_text('{"epoch": 1}')
    with pytest.raises(DataError, match=r"recipe\.json does not hold"):
        evaluate(tmp_path)


def test_scores_are_products_of_the_towers(tmp_path):
    one = recipe(epochs=1)
    train(one, tmp_path)
    run, split = load_run(tmp_path), cold_data.load(one)
    asked = question(one, split)
    got = scores(run, asked)
    for i, j in [(0, 0), (3, 7)]:
        user = run.user_features.transform(asked.users.take([i]))
        item = cold_data.item_inputs(
            one, run.item_features, asked.items.take([j])
        )
        pair = run.model({"user": user, "item": item})
        product = np.sum(
            ops.convert_to_numpy(pair["query"])
            * ops.convert_to_numpy(pair["candidate"])
        )
        assert got[i, j] == pytest.approx(product, rel=1e-4)
