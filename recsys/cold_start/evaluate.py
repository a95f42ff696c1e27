"""How well what is new is ranked, beside what needs no training."""

from typing import NamedTuple

import numpy as np

from keras_multi.data import Table
from keras_multi.metrics import NDCG, RecallAtK
from recsys.cold_start.data import Split, first_rows
from recsys.cold_start.recipe import ColdStartRecipe
from recsys.content import ContentFilter

K = 20


class Question(NamedTuple):
    """Who is asked about, and what is ranked.

    Attributes:
        users: one row for each of U users with a test row.
        items: one row for each of C candidates, in an order that the seed
            draws: equal scores rank in that order, which is a random one.
        labels: float32 `(U, C)`, 1 where the user has rated the item in the
            test rows.
    """

    users: Table
    items: Table
    labels: np.ndarray


def question(recipe: ColdStartRecipe, split: Split) -> Question:
    """Asks for the test rows.

    New items are ranked among themselves, for all users who have rated one.
    For new users all items are ranked.
    """
    users = first_rows(split.test, "user_id")
    if recipe.model == "cold-items":
        items = first_rows(split.test, "item_id")
    else:
        items = first_rows(_joined(split), "item_id")
    order = np.random.default_rng(recipe.seed).permutation(len(items))
    items = items.take(order)
    labels = np.zeros((len(users), len(items)), np.float32)
    row = _places(users["user_id"], split.test["user_id"])
    labels[row, _places(items["item_id"], split.test["item_id"])] = 1
    return Question(users, items, labels)


def measure(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Measures scores, both `(U, C)`: the means over the users.

    Returns:
        `recall_at_20`, the share of a user's items among the first 20, and
        `ndcg_at_20`.
    """
    metrics = (RecallAtK(K), NDCG(K))
    return {m.name: float(m(labels, scores)) for m in metrics}


def random_order(labels: np.ndarray) -> dict[str, float]:
    """Gives what a random order has in expectation.

    Example:
        >>> random_order(np.eye(40, dtype="float32"))["recall_at_20"]
        0.5
    """
    count = labels.shape[1]
    k = min(K, count)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    relevant = labels.sum(axis=1).astype(int)
    best = np.cumsum(discounts)[np.minimum(relevant, k) - 1]
    gain = relevant / count * discounts.sum()
    return {
        f"recall_at_{K}": k / count,
        f"ndcg_at_{K}": float(np.mean(gain / best)),
    }


def baselines(
    recipe: ColdStartRecipe, split: Split, asked: Question
) -> dict[str, dict[str, float]]:
    """Measures what needs no training.

    Returns:
        `random`; for new items `content`, which ranks by genres and year as
        `ContentFilter` does; for new users `popularity`, the number of
        training rows of each item.
    """
    found = {"random": random_order(asked.labels)}
    if recipe.model == "cold-items":
        scores = content_scores(split, asked)
        found["content"] = measure(scores, asked.labels)
    else:
        ids, counts = np.unique(split.train["item_id"], return_counts=True)
        popularity = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        row = [popularity.get(i, 0) for i in asked.items["item_id"].tolist()]
        scores = np.broadcast_to(np.array(row, np.float32), asked.labels.shape)
        found["popularity"] = measure(scores, asked.labels)
    return found


def content_scores(split: Split, asked: Question) -> np.ndarray:
    """Scores of new items by content, float32 `(U, C)`.

    A user is the sum of the items that the user has rated in training.
    """
    train = split.train
    content = ContentFilter("tfidf").fit_table(
        _joined(split), "item_id", ["genres", "release_year"], popularity=True
    )
    histories = [
        train["item_id"][train["user_id"] == user]
        for user in asked.users["user_id"]
    ]
    known = np.unique(train["item_id"])
    count = len(asked.items)
    found, ids = content.recommend(histories, count, exclude=known)
    scores = np.empty_like(asked.labels)
    columns = _places(asked.items["item_id"], ids.ravel()).reshape(ids.shape)
    np.put_along_axis(scores, columns, found, axis=1)
    return scores


def _joined(split: Split) -> Table:
    columns = {
        name: np.concatenate([split.train[name], split.test[name]])
        for name in split.train.columns
    }
    return Table(split.train.name, columns, split.train.target)


def _places(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place in `ids` of each wanted one."""
    order = np.argsort(ids)
    return order[np.searchsorted(ids, wanted, sorter=order)]
