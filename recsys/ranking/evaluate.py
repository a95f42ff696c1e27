"""The rows and lists that rankers are judged on, and how good they are."""

import numpy as np

from keras_multi import data
from keras_multi.data import Table
from keras_multi.metrics import NDCG
from recsys.data import SPLIT_SEED
from recsys.evaluate import metrics
from recsys.ranking.lists import sample_lists

LIKED = 4.0  # A rating from here on is a click.
# As large a part of the training rows as the test rows are of all.
VALIDATION_SHARE = 0.2


def split(name: str, holdout: str) -> tuple[Table, Table]:
    """Gives the rows to train on and the rows to judge.

    Args:
        name: name of a data set of ratings.
        holdout: `"test"`, or `"validation"` for a fifth of the training rows;
            the test rows then play no part at all.

    Returns:
        Training rows and held-out rows.
    """
    train, test = data.train_test(name)
    if holdout == "test":
        return train, test
    parts = (1 - VALIDATION_SHARE, VALIDATION_SHARE)
    train, validation = data.random_split(train, parts, seed=SPLIT_SEED)
    return train, validation


def judged_lists(table: Table) -> np.ndarray:
    """Gives the lists that are judged: 50 lists of 5 ratings of each user.

    They depend on the table alone, so that all runs are judged on the same.
    TensorFlow Recommenders draws one list a user; the mean over 50 estimates
    the same number with less noise.
    """
    return sample_lists(table, length=5, lists_per_user=50, seed=SPLIT_SEED)


def ndcg(table: Table, scores: np.ndarray) -> float:
    """Mean NDCG@5 over `judged_lists`, with gains `2^rating - 1`.

    Args:
        table: held-out ratings.
        scores: one for each row.
    """
    lists = judged_lists(table)
    return float(NDCG(5)(table["rating"][lists], scores[lists]))


def judge(loss: str, table: Table, scores: np.ndarray) -> dict[str, float]:
    """Measures the scores of held-out ratings.

    Args:
        loss: the loss of the recipe, which says what a score means.
        table: held-out ratings.
        scores: one for each row.

    Returns:
        `ndcg_at_5`; for `"mse"` also `rmse` and `mae`, for `"click"` also
        `auc`, `log_loss` and `accuracy`, all over the single ratings.
    """
    result = {"ndcg_at_5": ndcg(table, scores)}
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
