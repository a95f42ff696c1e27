"""A finished run: loaded, and judged on held-out ratings and lists."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_multi import backend, data
from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from keras_multi.files import METRICS, read_json, read_model
from keras_multi.metrics import NDCG
from recsys.data import SPLIT_SEED
from recsys.dcn import DCN
from recsys.evaluate import FEATURES, MODEL, RECIPE, metrics, predict
from recsys.features import Features
from recsys.ranking.evidence import parts_of_users, with_evidence
from recsys.ranking.lists import sample_lists
from recsys.ranking.recipe import ListRecipe
from recsys.ranking.stacking import Networks

LIKED = 4.0  # A rating from here on is a click.
# As large a part of the training rows as the test rows are of all.
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class ListRun:
    """A trained ranker with what belongs to it.

    Attributes:
        recipe: how it was trained.
        features: what turns a table into its inputs.
        model: the model.
        train: the training rows, for the evidence.
        networks: whose predictions are evidence; `None` for none.
    """

    recipe: ListRecipe
    features: Features
    model: DCN
    train: Table
    networks: Networks | None = None

    def score(self, table: Table) -> np.ndarray:
        """Scores rows that are not of the training: float32, `(rows,)`."""
        if self.recipe.parts:
            table = with_evidence(table, self.train)
        if self.networks:
            table = self.networks.add(table)
        return predict(self.model, self.features.transform(table))


def load_run(directory: str | os.PathLike[str]) -> ListRun:
    """Loads what `recsys.ranking.train.train` has saved.

    Args:
        directory: the output folder of the training.

    Returns:
        Recipe, features and model. The backend may be another one than in
        training. The training rows come from the data set.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched.
    """
    folder = Path(directory)
    read_json(folder / METRICS)  # Written last: the others are complete.
    try:
        recipe = ListRecipe.of(**read_json(folder / RECIPE))
    except UsageError as error:
        raise DataError(
            f"{folder / RECIPE} does not hold a recipe: {error}; train again"
        ) from error
    features = Features.load(folder / FEATURES)
    model = read_model(folder / MODEL)
    train = split(recipe.data)[0]
    networks = None
    if recipe.networks:
        parts = parts_of_users(train["user_id"], recipe.parts, recipe.seed)
        networks = Networks.load(
            folder, train, parts, recipe.networks, recipe.seed
        )
    return ListRun(recipe, features, model, train, networks)


def evaluate(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Judges a trained ranker on the test rows of its data set.

    Args:
        directory: the output folder of the training.

    Returns:
        `backend`, `model`, `loss`, `data`, `rows` and `test`, what `judge`
        gives.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched.
    """
    run = load_run(directory)
    _, test = split(run.recipe.data)
    return {
        "backend": backend.name(),
        "model": "list-ranker",
        "loss": run.recipe.loss,
        "data": run.recipe.data,
        "rows": len(test),
        "test": judge(run.recipe.loss, test, run.score(test)),
    }


def split(name: str, validation: bool = False) -> tuple[Table, Table]:
    """Gives the rows to train on and the rows to judge.

    Args:
        name: name of a data set of ratings.
        validation: whether to judge a fifth of the training rows, and to
            train on the others; the test rows then play no part at all.

    Returns:
        Training rows and held-out rows.
    """
    train, test = data.train_test(name)
    if not validation:
        return train, test
    shares = (1 - VALIDATION_SHARE, VALIDATION_SHARE)
    train, held_out = data.random_split(train, shares, seed=SPLIT_SEED)
    return train, held_out


def judged_lists(table: Table) -> np.ndarray:
    """Gives the lists that are judged: 50 lists of 5 ratings of each user.

    They depend on the table alone, so that all runs are judged on the same.
    TensorFlow Recommenders draws one list a user; the mean over 50 estimates
    the same number with less noise.
    """
    return sample_lists(table["user_id"], 5, 50, SPLIT_SEED)


def ndcg(table: Table, scores: np.ndarray, gain: str = "exponential") -> float:
    """Mean NDCG@5 over `judged_lists`.

    Args:
        table: held-out ratings.
        scores: one for each row.
        gain: as of `keras_multi.metrics.NDCG`.
    """
    lists = judged_lists(table)
    return float(NDCG(5, gain)(table["rating"][lists], scores[lists]))


def judge(loss: str, table: Table, scores: np.ndarray) -> dict[str, float]:
    """Measures the scores of held-out ratings.

    Args:
        loss: the loss of the recipe, which says what a score means.
        table: held-out ratings.
        scores: one for each row.

    Returns:
        `ndcg_at_5` with gains `2^rating - 1`, `linear_ndcg_at_5` with gains
        of the rating; for `"mse"` also `rmse` and `mae`, for `"click"` also
        `auc`, `log_loss` and `accuracy`, all over the single ratings.
    """
    result = {
        "ndcg_at_5": ndcg(table, scores),
        "linear_ndcg_at_5": ndcg(table, scores, "linear"),
    }
    if loss == "mse":
        result |= metrics(table["rating"], scores, binary=False)
    elif loss == "click":
        result |= metrics(clicks(table), scores, binary=True)
    return result


def clicks(table: Table) -> np.ndarray:
    """Whether a rating is 4 or more: float32, shape `(rows,)`."""
    return (table["rating"] >= LIKED).astype(np.float32)


def item_means(train: Table, table: Table) -> np.ndarray:
    """Scores rows by the mean training rating of their item.

    A baseline that knows no users. An item without a training rating has the
    mean of all.
    """
    items, place = np.unique(train["item_id"], return_inverse=True)
    ratings = train["rating"].astype(np.float64)
    means = np.bincount(place, ratings) / np.bincount(place)
    found = np.minimum(np.searchsorted(items, table["item_id"]), len(items) - 1)
    known = items[found] == table["item_id"]
    return np.where(known, means[found], ratings.mean())
