"""The recipe of a cold-start run, with its defaults."""

from dataclasses import dataclass
from typing import Any, Self

from keras_multi.fields import checked, choose, require

# Model: the column of what is held out.
HELD_OUT = {"cold-items": "item_id", "cold-users": "user_id"}
DATA = ("movielens-100k",)
INPUTS = ("features", "ids")
TITLES = ("none", "words", "sentences")


@dataclass(frozen=True)
class ColdStartRecipe:
    """Everything a run depends on, but for the backend.

    Make it with `ColdStartRecipe.of`.

    Attributes:
        data: name of the data set.
        model: `"cold-items"` or `"cold-users"`, the side that is held out.
        share: share of its items or users to hold out.
        inputs: `"features"`, or `"ids"` to show what ids alone can do.
        titles: how titles serve as features: `"words"`, `"sentences"` (the
            embedding of a pretrained text encoder) or `"none"`.
        epochs: passes over the training rows.
        batch_size: rows per step, all of them candidates.
        learning_rate: step size of Adam at the start; it falls to 0.
        embedding_dim: width of the embeddings.
        units: width of each layer of a tower.
        dropout: share of values set to zero in training.
        embeddings_l2: weight of the sum of squares of all embeddings.
        temperature: what scores are divided by in training.
        logq: share of the log of an item's chance to be in a batch that is
            taken from its score in training (1 corrects for it wholly).
        seed: seed of what is held out, the weights, the dropout and the
            order of the rows.
    """

    data: str = "movielens-100k"
    model: str = "cold-items"
    share: float = 0.2
    inputs: str = "features"
    titles: str = "words"
    epochs: int = 10
    batch_size: int = 1024
    learning_rate: float = 0.003
    embedding_dim: int = 32
    units: tuple[int, ...] = (64, 32)
    dropout: float = 0.2
    embeddings_l2: float = 0.0
    temperature: float = 1.0
    logq: float = 1.0
    seed: int = 42

    def __post_init__(self) -> None:
        choose("data", self.data, DATA)
        choose("model", self.model, tuple(HELD_OUT))
        choose("inputs", self.inputs, INPUTS)
        choose("titles", self.titles, TITLES)
        for name in ("epochs", "batch_size", "embedding_dim"):
            require(self, name, getattr(self, name) >= 1, "be at least 1")
        for name in ("learning_rate", "temperature"):
            require(self, name, getattr(self, name) > 0, "be more than 0")
        for name in ("embeddings_l2", "logq", "seed"):
            require(self, name, getattr(self, name) >= 0, "not be negative")
        require(self, "share", 0 < self.share < 1, "lie between 0 and 1")
        require(self, "dropout", 0 <= self.dropout < 1, "lie in [0, 1)")
        require(
            self,
            "units",
            bool(self.units) and all(n >= 1 for n in self.units),
            "hold positive integers",
        )

    @property
    def column(self) -> str:
        """The column whose values are held out."""
        return HELD_OUT[self.model]

    @property
    def sentences(self) -> bool:
        """Whether items have the sentence embedding of their title."""
        return self.inputs == "features" and self.titles == "sentences"

    @classmethod
    def of(cls, data: str, model: str, **changes: Any) -> Self:
        """Takes the defaults of a model, with some changes.

        Raises:
            UsageError: if a name is unknown or a value has the wrong type or
                is out of range.

        Example:
            >>> ColdStartRecipe.of("movielens-100k", "cold-users").column
            'user_id'
        """
        choose("model", model, tuple(HELD_OUT))
        fields = {**DEFAULTS[model], **changes, "data": data, "model": model}
        return cls(**checked(cls, fields))


# What was chosen per model, on items or users held out of the training part.
DEFAULTS: dict[str, dict[str, Any]] = {"cold-items": {}, "cold-users": {}}
