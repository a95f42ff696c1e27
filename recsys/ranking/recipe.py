"""The recipe of a list-wise training run, with its defaults."""

from dataclasses import dataclass
from typing import Any

from keras_multi.backend import PRECISIONS
from keras_multi.errors import UsageError

LOSSES = ("mse", "click", "hinge", "logistic", "list_mle", "softmax")
HOLDOUTS = ("test", "validation")


@dataclass(frozen=True)
class ListRecipe:
    """Everything a list-wise training run depends on, but for the backend.

    Attributes:
        loss: what the DCN learns from lists: each rating by itself
            (`"mse"`, or `"click"`: whether it is 4 or more), pairs
            (`"hinge"`, `"logistic"`) or the whole list (`"list_mle"`,
            `"softmax"`).
        data: name of the data set.
        list_length: number of items of a list.
        lists_per_user: number of training lists of each user.
        epochs: passes over the training lists.
        batch_size: lists per step.
        learning_rate: step size of Adam at the start; it falls to 0 along a
            cosine.
        embedding_dim: width of the embeddings.
        embeddings_l2: weight of the sum of squares of all embeddings.
        num_cross_layers: number of cross layers of the DCN.
        deep_units: width of each layer of the perceptron.
        dropout: share of values set to zero in training.
        holdout: the rows that the figures are for: `"test"`, or
            `"validation"`, a part of the training rows that is then kept out
            of training, to choose settings on.
        precision: Keras dtype policy.
        seed: seed of the weights, the dropout, the training lists and their
            order.
    """

    loss: str = "softmax"
    data: str = "movielens-100k"
    list_length: int = 5
    lists_per_user: int = 50
    epochs: int = 10
    batch_size: int = 512
    learning_rate: float = 0.01
    embedding_dim: int = 32
    embeddings_l2: float = 1e-3
    num_cross_layers: int = 2
    deep_units: tuple[int, ...] = (64,)
    dropout: float = 0.2
    holdout: str = "test"
    precision: str = "float32"
    seed: int = 42

    def __post_init__(self) -> None:
        choose("loss", self.loss, LOSSES)
        choose("data", self.data, ("movielens-100k",))
        choose("holdout", self.holdout, HOLDOUTS)
        choose("precision", self.precision, PRECISIONS)
        at_least(self, 2, "list_length")
        at_least(
            self, 1, "lists_per_user", "epochs", "batch_size", "embedding_dim"
        )
        at_least(self, 0, "embeddings_l2", "num_cross_layers", "seed")
        check_units(self, "deep_units")
        check_training(self)


def choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuses a value that is not one of the choices."""
    if value not in choices:
        raise UsageError(
            f"unknown {name} {value!r}; choose one of {', '.join(choices)}"
        )


def at_least(recipe: Any, lowest: int, *names: str) -> None:
    """Refuses fields that are below a number."""
    for name in names:
        if not getattr(recipe, name) >= lowest:
            raise UsageError(
                f"{name} must be at least {lowest}. "
                f"Received: {name}={getattr(recipe, name)}"
            )


def check_units(recipe: Any, *names: str) -> None:
    """Refuses widths of layers that are not positive."""
    for name in names:
        units = getattr(recipe, name)
        if not all(n >= 1 for n in units):
            raise UsageError(
                f"{name} must hold positive integers. Received: {name}={units}"
            )


def check_training(recipe: Any) -> None:
    """Refuses a learning rate or dropout that no training can use."""
    if not recipe.learning_rate > 0:
        raise UsageError(
            "learning_rate must be more than 0. "
            f"Received: learning_rate={recipe.learning_rate}"
        )
    if not 0 <= recipe.dropout < 1:
        raise UsageError(
            f"dropout must lie in [0, 1). Received: dropout={recipe.dropout}"
        )
