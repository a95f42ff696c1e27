"""A small table with the columns of MovieLens."""

import numpy as np

from keras_multi.data import Table

USERS, ITEMS = 30, 24


def small_table() -> Table:
    """Users who like the items of their own rest of three, in some order."""
    rng = np.random.default_rng(0)
    pairs = [
        (user, item)
        for user in range(1, USERS + 1)
        for item in rng.permutation(ITEMS)[:16]
        if item % 3 == user % 3 or rng.uniform() < 0.1
    ]
    users, items = np.array(pairs).T
    order = rng.permutation(len(users))
    users, items = users[order], items[order]
    rows = len(users)
    columns = {
        "user_id": users,
        "item_id": items + 10,
        "rating": rng.integers(1, 6, rows).astype("float32"),
        "timestamp": 880_000_000 + rng.permutation(rows) * 1000,
        "age": 20 + users,
        "gender": np.array(["F", "M"])[users % 2],
        "occupation": np.array(["a", "b", "c"])[users % 3],
        "movie_title": np.array(["The A", "The B", "A B"])[items % 3],
        "release_year": 1990 + items % 5,
        "genres": np.array(["x|y", "y", "z"])[items % 3],
    }
    return Table("small", columns, target="rating")
