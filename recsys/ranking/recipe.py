"""The recipe of a list-wise training run, with its defaults."""

from dataclasses import dataclass
from typing import Any, Self

from keras_multi.backend import AUTO, PRECISIONS
from keras_multi.fields import checked, choose, require

LOSSES = ("mse", "click", "hinge", "logistic", "list_mle", "softmax")


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
        parts: parts to which the training ratings of a user are dealt. The
            DCN sees what the other parts say of a rating (see
            `recsys.ranking.evidence`), and the items of a list are of one
            part. 0 leaves this evidence out.
        networks: factor networks trained without each part; what they
            predict is evidence too (see `recsys.ranking.stacking`).
        epochs: passes over the training lists.
        batch_size: lists per step.
        learning_rate: step size of Adam at the start; it falls to 0 along a
            cosine.
        embedding_dim: width of the embeddings.
        embeddings_l2: weight of the sum of squares of all embeddings.
        num_cross_layers: number of cross layers of the DCN.
        deep_units: width of each layer of the perceptron.
        dropout: share of values set to zero in training.
        precision: Keras dtype policy, or `"auto"` for the faster of float32
            and mixed_bfloat16: see `keras_multi.choose_precision`.
        seed: seed of the weights, the dropout, the training lists and their
            order.
    """

    loss: str = "softmax"
    data: str = "movielens-100k"
    list_length: int = 5
    lists_per_user: int = 20
    parts: int = 5
    networks: int = 0
    epochs: int = 4
    batch_size: int = 512
    learning_rate: float = 0.003
    embedding_dim: int = 8
    embeddings_l2: float = 1e-3
    num_cross_layers: int = 1
    deep_units: tuple[int, ...] = (64, 32)
    dropout: float = 0.1
    precision: str = "float32"
    seed: int = 42

    def __post_init__(self) -> None:
        choose("loss", self.loss, LOSSES)
        choose("data", self.data, ("movielens-100k",))
        choose("precision", self.precision, (*PRECISIONS, AUTO))
        require(self, "list_length", self.list_length >= 2, "be at least 2")
        for name in ("lists_per_user", "epochs", "batch_size", "embedding_dim"):
            require(self, name, getattr(self, name) >= 1, "be at least 1")
        for name in ("networks", "embeddings_l2", "num_cross_layers", "seed"):
            require(self, name, getattr(self, name) >= 0, "not be negative")
        parts = self.parts == 0 or self.parts >= 2
        require(self, "parts", parts, "be 0 or at least 2")
        stacked = not self.networks or bool(self.parts)
        require(self, "networks", stacked, "be 0 without parts")
        positive = all(n >= 1 for n in self.deep_units)
        require(self, "deep_units", positive, "hold positive integers")
        require(self, "learning_rate", self.learning_rate > 0, "be more than 0")
        require(self, "dropout", 0 <= self.dropout < 1, "lie in [0, 1)")

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """Takes the defaults, with some changes.

        Args:
            **fields: any fields, by name; lists may stand for tuples, as in
                TOML and JSON.

        Returns:
            The recipe.

        Raises:
            UsageError: if a name is unknown or a value has the wrong type or
                is out of range.

        Example:
            >>> ListRecipe.of(loss="mse", epochs=3).epochs
            3
        """
        return cls(**checked(cls, fields))

    @classmethod
    def of_data(cls, data: str, model: str, **fields: Any) -> Self:
        """Does as `of`; the model is `"list-ranker"`."""
        choose("model", model, ("list-ranker",))
        return cls.of(data=data, **fields)
