import dataclasses

import numpy as np
import pytest

from keras_multi import data
from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from keras_multi.files import read_json, write_json
from recsys.assemble import from_runs
from recsys.recipe import Recipe
from recsys.recommend import recommend
from recsys.retrieval.data import load
from recsys.retrieval.evaluate import load_run
from recsys.retrieval.recipe import RetrievalRecipe
from recsys.retrieval.train import train as train_retrieval
from recsys.train import train as train_ranker
from tests.recsys.two_stage_case import ratings


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs of both kinds, on a small table."""
    table = ratings()
    user = table["user_id"]
    more = {
        "occupation": np.array(["writer", "artist"])[user % 2],
        "zip_code": user.astype(str),
    }
    table = Table("movielens-100k", table.columns | more, "rating")
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: table)
        patch.setattr(
            data,
            "train_test",
            lambda name: data.random_split(table, (0.8, 0.2), seed=42),
        )
        recipe = RetrievalRecipe.of(epochs=1, batch_size=64, embedding_dim=4)
        train_retrieval(recipe, folder / "retrieval", progress=False)
        recipe = Recipe.of("movielens-100k", epochs=1, embedding_dim=4)
        train_ranker(recipe, folder / "dcn", progress=False)
        yield folder


@pytest.mark.slow
@pytest.mark.slow
def test_two_runs_become_one_artifact(runs):
    recommender = from_runs(runs / "retrieval", runs / "dcn", candidates=15)
    recommender.save(runs / "artifact")
    items = recommend(runs / "artifact", 3, k=5)
    assert len(items) == 5
    train = load("movielens-100k", "random").train
    seen = train["item_id"][train["user_id"] == 3]
    assert not set(seen) & {item["item"] for item in items}
    run = load_run(runs / "retrieval")
    user = recommender.profiles.users.take(slice(2, 3))
    assert user["user_id"].item() == 3
    products = run.item_vectors() @ run.user_vectors(user)[0]
    for item in items:
        row = np.flatnonzero(run.inputs.items["item_id"] == item["item"])
        assert item["retrieval_score"] == pytest.approx(
            products[row].item(), abs=1e-4
        )


@pytest.mark.slow
def test_runs_that_do_not_fit_are_named(runs, tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        from_runs(runs / "retrieval", tmp_path)
    path = runs / "dcn" / "recipe.json"
    before = read_json(path)
    write_json(path, dataclasses.asdict(Recipe.of("adult")))
    try:
        with pytest.raises(UsageError, match="movielens-100k and adult"):
            from_runs(runs / "retrieval", runs / "dcn")
    finally:
        write_json(path, before)
