"""A small table with the columns of MovieLens 100K."""

import numpy as np

from keras_multi.data import Table

GENRES = ["Drama", "Comedy", "Drama|War", "Action|Comedy|War"]


def ratings(rows=240, users=20, items=25, seed=0):
    """Distinct pairs; the rating depends on user, item and their product."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(users * items)[:rows]
    user, item = pairs // items, pairs % items
    p, q = rng.normal(size=users), rng.normal(size=items)
    rating = np.clip(np.rint(3 + p[user] * q[item] + q[item]), 1, 5)
    columns = {
        "user_id": user + 100,
        "item_id": item + 1000,
        "rating": rating.astype(np.float32),
        "timestamp": 880_000_000 + rng.integers(10**6, size=rows),
        "age": 10 + user,
        "gender": np.array(["F", "M"])[user % 2],
        "occupation": np.array(["a", "b", "c"])[user % 3],
        "zip_code": np.array(["1", "2"])[user % 2],
        "release_year": 1930 + 3 * item,
        "genres": np.array(GENRES)[item % 4],
    }
    return Table("movielens-100k", columns, target="rating")
