"""The recipe of a retrieval model: what people tune, with its defaults."""

from dataclasses import dataclass
from typing import Any, Self

from keras_multi.backend import AUTO, PRECISIONS
from keras_multi.fields import checked, choose, require
from recsys.retrieval.data import FEATURES, PROTOCOLS

SCHEDULES = ("constant", "cosine")
DATA = ("movielens-100k",)


@dataclass(frozen=True)
class RetrievalRecipe:
    """Everything a training run depends on, but for the backend.

    The defaults are the best model for the random split; `of` gives the best
    ones of a protocol and of features.

    Attributes:
        data: name of the data set.
        protocol: `"random"` or `"leave-last-out"`.
        features: `"ids"`, `"time"` (when the user asks) or `"all"` (also who
            the user is, and what the movie is).
        windows: numbers of last items; the user tower sees the mean of the
            embeddings of each such window of the history before the row's
            time, from a table for each.
        embedding_dim: width of the embeddings.
        units: width of the dense layers of each tower; empty for none.
        dropout: share of values set to zero in training.
        embeddings_l2: weight of the sum of squares of all embeddings.
        normalize: whether the vectors of the towers have length 1.
        temperature: what divides the scores in training.
        logq: share of the log of an item's chance to be a negative that is
            taken from its score in training (1 corrects for it wholly).
        extra_negatives: whether as many negatives again are drawn, each item
            with the same chance.
        num_hard_negatives: negatives of highest score to keep; `None` for
            all.
        epochs: passes over the training rows.
        batch_size: rows per step.
        learning_rate: step size of Adam at the start.
        schedule: `"constant"`, or `"cosine"` to let it fall to 0.
        precision: Keras dtype policy, or `"auto"` for the faster of float32
            and mixed_bfloat16: see `keras_multi.choose_precision`.
        seed: seed of weights, dropout, negatives and the order of the rows.

    Raises:
        UsageError: if a value is out of range.
    """

    data: str = "movielens-100k"
    protocol: str = "random"
    features: str = "all"
    windows: tuple[int, ...] = (1, 3, 10)
    embedding_dim: int = 64
    units: tuple[int, ...] = (256, 128)
    dropout: float = 0.2
    embeddings_l2: float = 0.0
    normalize: bool = False
    temperature: float = 1.0
    logq: float = 1.0
    extra_negatives: bool = False
    num_hard_negatives: int | None = None
    epochs: int = 10
    batch_size: int = 1024
    learning_rate: float = 0.002
    schedule: str = "cosine"
    precision: str = "float32"
    seed: int = 42

    def __post_init__(self) -> None:
        for name, choices in (
            ("data", DATA),
            ("protocol", PROTOCOLS),
            ("features", FEATURES),
            ("schedule", SCHEDULES),
            ("precision", (*PRECISIONS, AUTO)),
        ):
            choose(name, getattr(self, name), choices)
        for name in ("embedding_dim", "epochs", "batch_size"):
            require(self, name, getattr(self, name) >= 1, "be at least 1")
        for name in ("windows", "units"):
            good = all(n >= 1 for n in getattr(self, name))
            require(self, name, good, "hold positive integers")
        distinct = len(set(self.windows)) == len(self.windows)
        require(self, "windows", distinct, "hold no number twice")
        hard = self.num_hard_negatives
        require(
            self,
            "num_hard_negatives",
            hard is None or hard >= 1,
            "be at least 1",
        )
        for name in ("temperature", "learning_rate"):
            require(self, name, getattr(self, name) > 0, "be more than 0")
        for name in ("embeddings_l2", "logq"):
            require(self, name, getattr(self, name) >= 0, "not be negative")
        require(self, "dropout", 0 <= self.dropout < 1, "lie in [0, 1)")
        require(self, "seed", 0 <= self.seed < 2**32, "lie in [0, 2**32)")
        one_width = self.units or (self.features == "ids" and not self.windows)
        require(
            self,
            "units",
            bool(one_width),
            "not be empty unless ids are all there is",
        )

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """Takes the defaults of a protocol and features, with changes.

        Args:
            **fields: any fields, by name; lists may stand for tuples, as in
                TOML and JSON.

        Returns:
            The recipe.

        Raises:
            UsageError: if a name is unknown or a value has the wrong type or
                is out of range.

        Example:
            >>> RetrievalRecipe.of(features="ids", epochs=3).windows
            ()
        """
        fields = checked(cls, fields)
        features = fields.get("features", "all")
        protocol = fields.get("protocol", "random")
        defaults = DEFAULTS.get((protocol, features), {})
        return cls(**{**defaults, **fields})

    @classmethod
    def of_data(cls, data: str, model: str, **fields: Any) -> Self:
        """Does as `of`; the model is `"two-tower"`."""
        choose("model", model, ("two-tower",))
        return cls.of(data=data, **fields)

    @classmethod
    def of_json(cls, fields: dict[str, Any]) -> Self:
        """Takes back what JSON made of `dataclasses.asdict`.

        Raises:
            UsageError: as `of`.
        """
        return cls(**checked(cls, fields))


# What was chosen on validation rows, where it differs from the class.
_IDS: dict[str, Any] = {
    "windows": (),
    "embedding_dim": 32,
    "units": (),
    "dropout": 0.0,
    "epochs": 20,
}
_TIME: dict[str, Any] = {"windows": (), "units": (64,)}
DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("random", "ids"): _IDS,
    ("random", "time"): _TIME,
    ("leave-last-out", "ids"): _IDS,
    ("leave-last-out", "time"): _TIME,
    ("leave-last-out", "all"): {"windows": (1, 3, 10, 30), "units": (64,)},
}
