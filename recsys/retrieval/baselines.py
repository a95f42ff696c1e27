"""What two towers must beat: popularity, neighbours and factorization.

Each gives vectors of users and of the corpus, whose products are its scores,
so that `recsys.retrieval.measure` judges it as it judges the towers. `tune`
chooses the settings on validation rows.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from keras_multi.errors import UsageError
from recsys.retrieval.data import Split, load, seen_items
from recsys.retrieval.measure import measure

Vectors = tuple[np.ndarray, np.ndarray]

# The settings that `tune` tries.
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "popularity": {},
    "item-knn": {
        "neighbours": (50, 100, 200, 400, 800, 1682),
        "shrinkage": (0.0, 10.0, 50.0),
    },
    "als": {
        "factors": (32, 64, 128),
        "regularization": (1.0, 5.0, 10.0, 20.0, 50.0),
        "alpha": (1.0, 2.0, 5.0),
        "iterations": (15,),
    },
}


def interactions(split: Split) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Gives the training part as a matrix of ones.

    Returns:
        Float64 `(users, corpus)`, and the user of each row, ascending.
    """
    users, rows = np.unique(split.train["user_id"], return_inverse=True)
    items = split.rows_of_items(split.train)
    shape = (len(users), len(split.items))
    matrix = sparse.csr_matrix((np.ones(len(rows)), (rows, items)), shape)
    matrix.data[:] = 1.0  # An item chosen twice counts once.
    return matrix, users


def popularity(matrix: sparse.csr_matrix) -> Vectors:
    """Scores an item by how many users chose it."""
    counts = np.asarray(matrix.sum(axis=0)).reshape(-1, 1)
    return np.ones((matrix.shape[0], 1)), counts


def item_knn(
    matrix: sparse.csr_matrix, neighbours: int, shrinkage: float
) -> Vectors:
    """Scores an item by its likeness to the items that the user chose.

    The likeness of two items is the cosine of their columns, shrunk where
    few users chose them (Sarwar et al. 2001, section 3.1.1; Bell and Koren
    2007, section 4): `n_ij / (sqrt(n_i n_j) + shrinkage)`.

    Args:
        matrix: ones `(users, corpus)`.
        neighbours: number of most alike items of each item that count.
        shrinkage: as above, not negative.
    """
    together = (matrix.T @ matrix).toarray()
    counts = together.diagonal().copy()
    norms = np.sqrt(np.outer(counts, counts)) + shrinkage
    alike = np.divide(
        together, norms, out=np.zeros_like(together), where=norms > 0
    )
    np.fill_diagonal(alike, 0.0)
    if neighbours < len(alike):
        least = np.partition(alike, -neighbours, axis=1)[:, -neighbours]
        alike[alike < least[:, None]] = 0.0
    return matrix.toarray(), alike


def als(
    matrix: sparse.csr_matrix,
    factors: int,
    regularization: float,
    alpha: float,
    iterations: int,
    seed: int = 42,
) -> Vectors:
    """Factorizes the matrix by the package `implicit`.

    Alternating least squares on implicit feedback, where a chosen item has
    the confidence `alpha` and all others 1 (Hu, Koren and Volinsky 2008).

    Args:
        matrix: ones `(users, corpus)`.
        factors: width of the vectors.
        regularization: weight of their squares.
        alpha: confidence of a chosen item.
        iterations: number of alternations.
        seed: seed of the first vectors.

    Raises:
        UsageError: if `implicit` is not installed.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError as error:
        raise UsageError(
            "als needs the package implicit: pip install 'keras-multi[als]'"
        ) from error
    model = AlternatingLeastSquares(
        factors=factors,
        regularization=regularization,
        alpha=alpha,
        iterations=iterations,
        num_threads=1,
        random_state=seed,
    )
    model.fit(matrix.astype(np.float32), show_progress=False)
    return model.user_factors, model.item_factors


METHODS: dict[str, Callable[..., Vectors]] = {
    "popularity": popularity,
    "item-knn": item_knn,
    "als": als,
}


def evaluate(
    name: str, split: Split, settings: Mapping[str, Any]
) -> dict[str, float]:
    """Fits a baseline to the training rows and measures it on the others.

    Args:
        name: a key of `METHODS`.
        split: the rows; each user of `test` must be in `train`.
        settings: further arguments of the method.

    Returns:
        The metrics of `recsys.retrieval.measure.measure`.
    """
    matrix, users = interactions(split)
    user_vectors, item_vectors = METHODS[name](matrix, **settings)
    asked = split.test["user_id"]
    rows = np.searchsorted(users, asked)
    if not np.isin(asked, users).all():
        raise UsageError(
            "a baseline knows no user that training does not have. Received: "
            f"{(~np.isin(asked, users)).sum()} rows of such users"
        )
    seen = seen_items(
        split.train["user_id"], split.rows_of_items(split.train), asked
    )
    return measure(
        user_vectors[rows],
        item_vectors,
        split.rows_of_items(split.test),
        seen,
    )


def tune(name: str, data: str, protocol: str, metric: str) -> dict[str, Any]:
    """Chooses the settings on validation rows and measures on the test rows.

    Args:
        name: a key of `METHODS`.
        data: name of the data set.
        protocol: as `recsys.retrieval.data.load`.
        metric: the metric to choose by; higher is better.

    Returns:
        `settings`, `validation` (the metrics of the chosen settings there),
        `tried` (number of settings) and `test` (their metrics on the test
        rows, trained on all training rows).

    Raises:
        UsageError: if a name is unknown or a package is missing.
    """
    if name not in METHODS:
        raise UsageError(
            f"unknown baseline {name!r}; choose one of {', '.join(METHODS)}"
        )
    grid = GRIDS[name]
    split = load(data, protocol, validation=True)
    trials = [
        dict(zip(grid, values, strict=True))
        for values in itertools.product(*grid.values())
    ]
    results = [evaluate(name, split, settings) for settings in trials]
    best = int(np.argmax([result[metric] for result in results]))
    return {
        "settings": trials[best],
        "validation": results[best],
        "tried": len(trials),
        "test": evaluate(name, load(data, protocol), trials[best]),
    }
