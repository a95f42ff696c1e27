"""Small tables with the columns of MovieLens."""

import numpy as np

from keras_multi.data import Table

GENRES = np.array(["Drama", "Action|Comedy", "War"])


def ratings(rows=600, users=20, items=40, seed=0):
    """Ratings that depend on the item and a little on the user."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(users * items)[:rows]  # each pair once
    user, item = pairs // items, pairs % items
    rating = np.clip(
        np.rint(1 + 4 * item / items + rng.normal(0, 0.5, rows)), 1, 5
    )
    return Table(
        "movielens-100k",
        {
            "user_id": user,
            "item_id": item,
            "rating": rating.astype("float32"),
            "timestamp": rng.integers(880_000_000, 890_000_000, rows),
            "age": 20 + 2 * user,
            "gender": np.array(["F", "M"])[user % 2],
            "occupation": np.array(["artist", "writer"])[user % 2],
            "zip_code": np.array(["1", "2", "3"])[user % 3],
            "movie_title": np.char.add("Movie ", item.astype(str)),
            "release_year": 1950 + item,
            "genres": GENRES[item % 3],
        },
        target="rating",
    )


def train_test(name, **_):
    """Like `keras_multi.data.train_test`."""
    table = ratings()
    return table.take(slice(0, 400)), table.take(slice(400, None))
