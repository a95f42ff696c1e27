"""What the models see of each data set, and the split they are judged on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from keras_multi import data
from keras_multi.data import Table
from keras_multi.errors import UsageError
from recsys.columns import Buckets, Numeric, Vocabulary
from recsys.features import Features

# Training rows kept apart to decide when to stop: never rows of the test.
VALIDATION_SHARE = 0.1
SPLIT_SEED = 42


@dataclass(frozen=True)
class Task:
    """A data set as a task.

    Attributes:
        features: makes the features, not fitted yet.
        binary: whether the target is 0 or 1 and the model gives its logit;
            otherwise it is a number and the model gives that.
    """

    features: Callable[[], Features]
    binary: bool = False


class Split(NamedTuple):
    """The rows of a task.

    Attributes:
        train: rows that the model learns from.
        validation: rows from the same part, for early stopping; `None` if
            not asked for.
        test: rows for the final figures alone.
    """

    train: Table
    validation: Table | None
    test: Table


def _blender() -> Features:
    return Features(list(map(Numeric, ("country", "bananas", "cookbooks"))))


def _movielens() -> Features:
    # Without the timestamps, as in the published comparison.
    return Features(
        [
            Vocabulary("user_id"),
            Vocabulary("item_id"),
            Vocabulary("gender"),
            Vocabulary("zip_code"),
            Vocabulary("occupation"),
            Buckets("age", boundaries=(18, 25, 35, 45, 50, 56)),
        ]
    )


def _adult() -> Features:
    categories = (
        "workclass",
        "education",
        "marital_status",
        "occupation",
        "relationship",
        "race",
        "sex",
        "native_country",
    )
    numbers = ("education_num", "capital_gain", "capital_loss")
    return Features(
        [
            *map(Vocabulary, categories),
            Buckets("age", count=10),
            Buckets("hours_per_week", count=10),
            *map(Numeric, numbers),
        ]
    )


TASKS = {
    "blender": Task(_blender),
    "movielens-100k": Task(_movielens),
    "adult": Task(_adult, binary=True),
}


def task(name: str) -> Task:
    """Gives the task of a data set.

    Raises:
        UsageError: if there is none of this name.
    """
    if name not in TASKS:
        raise UsageError(
            f"unknown data set {name!r}; choose one of {', '.join(TASKS)}"
        )
    return TASKS[name]


def load(name: str, validation: bool = False) -> Split:
    """Loads a data set in its fixed split.

    The test rows are always the same, whatever the seed of a training run.

    Args:
        name: a key of `TASKS`.
        validation: whether to keep a tenth of the training rows apart.

    Returns:
        The rows to train on, to stop on and to test on.

    Raises:
        UsageError: if the name is unknown.
        DataError: if the data cannot be fetched.
    """
    task(name)
    train, test = data.train_test(name)
    if not validation:
        return Split(train, None, test)
    parts = (1 - VALIDATION_SHARE, VALIDATION_SHARE)
    train, held_out = data.random_split(train, parts, seed=SPLIT_SEED)
    return Split(train, held_out, test)
