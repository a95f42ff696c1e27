"""A tiny two-stage recommender with random weights, for tests."""

import keras
import numpy as np

from keras_multi import backend
from keras_multi.data import Table
from recsys import DCN
from recsys.assemble import assemble, items_of
from recsys.bags import MultiHot
from recsys.columns import Buckets, Numeric, Vocabulary
from recsys.features import Features
from recsys.retrieval.data import Split
from recsys.retrieval.inputs import Inputs
from recsys.two_tower import Tower, TwoTower

USERS, ITEMS, ROWS, DIM = 12, 60, 400, 6
GENRES = ("Action", "Comedy", "Drama", "War")
WINDOWS = (1, 3)


def ratings():
    """Ratings with the columns of MovieLens, each pair at most once."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(USERS * ITEMS, ROWS, replace=False)
    user, item = pairs // ITEMS, pairs % ITEMS
    genres = [
        "|".join(rng.choice(GENRES, rng.integers(1, 4), replace=False))
        for _ in range(ITEMS)
    ]
    return Table(
        "tiny",
        {
            "user_id": user + 1,
            "item_id": item + 1,
            "rating": rng.integers(1, 6, ROWS).astype("float32"),
            "timestamp": rng.permutation(ROWS),
            "age": 20 + user,
            "gender": np.array(["F", "M"])[user % 2],
            "movie_title": np.char.add("Film ", (item + 1).astype(str)),
            "release_year": 1980 + item % 20,
            "genres": np.array(genres)[item],
        },
        target="rating",
    )


def make(candidates=20, seed=0):
    """A recommender of random weights."""
    table = ratings()
    _, first = np.unique(table["item_id"], return_index=True)
    items = table.take(first)
    user_features = Features(
        [
            Vocabulary("user_id"),
            Vocabulary("gender"),
            Numeric("age"),
            Numeric("timestamp"),
            Buckets("timestamp", count=4),
        ]
    ).fit(table)
    item_features = Features(
        [Vocabulary("item_id"), Numeric("release_year"), MultiHot("genres")]
    ).fit(table)
    inputs = Inputs.of(
        user_features, item_features, WINDOWS, Split(table, table, items)
    )
    ranker_features = Features(
        [
            Vocabulary("item_id"),
            Vocabulary("user_id"),
            Numeric("release_year"),
            Buckets("age", boundaries=(25.0, 30.0)),
            Vocabulary("genres"),
            Numeric("timestamp"),
        ]
    ).fit(table)
    backend.seed(seed)
    options = {"embedding_dim": 4, "units": (8, DIM)}
    towers = TwoTower(
        Tower(
            user_features.vocabulary_sizes,
            user_features.num_dense,
            inputs.user_bags,
            **options,
        ),
        Tower.of(item_features, **options),
    )
    corpus = keras.tree.map_structure(lambda x: x[:2], inputs.corpus())
    towers({"user": inputs.users(table.take(slice(0, 2))), "item": corpus})
    ranker = DCN(
        ranker_features.vocabulary_sizes, 2, embedding_dim=4, deep_units=(8,)
    )
    ranker.build()
    rng = np.random.default_rng(seed)
    for model in (towers, ranker):
        model.set_weights(
            [rng.normal(scale=0.4, size=w.shape) for w in model.get_weights()]
        )
    return assemble(
        towers,
        inputs,
        ranker,
        ranker_features,
        items_of(items, ("release_year", "genres")),
        table,
        candidates,
    )
