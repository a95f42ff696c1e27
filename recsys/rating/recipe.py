"""The recipe of a factor model: what people tune, with its defaults."""

from dataclasses import dataclass
from typing import Any

from keras_multi.fields import checked, choose, require

MODELS = ("factors", "svd-pp", "factor-network")


@dataclass(frozen=True)
class RatingRecipe:
    """Everything a training run depends on, but for the backend.

    Make it with `RatingRecipe.of`, which knows the defaults of each model.

    Attributes:
        model: `"factors"` (biased matrix factorization), `"svd-pp"` (the
            same with what each user has rated) or `"factor-network"` (with
            both histories, time, side features and a perceptron).
        epochs: passes over the training rows.
        batch_size: rows per step.
        learning_rate: step size of Adam at the start; it falls to 0 along a
            cosine.
        embedding_dim: width of the factors.
        factors_l2: penalty of the factors in use.
        biases_l2: penalty of the biases in use.
        deep_units: width of each layer of the perceptron; empty for none.
        dropout: share of values set to zero in training.
        leave_one_out: whether the history of a training row leaves out the
            row itself, as it is for a row not seen in training.
        item_history: whether an item is described by its raters too, and
            not only a user by the rated items.
        explicit: whether histories hold the ratings and not only the pairs.
        side: whether to use age, gender, occupation, genres and year.
        time: whether to use the time of a rating. The model then knows what
            the same user rated shortly before and after, so that it
            interpolates: it does not forecast.
        seed: seed of the weights, the dropout and the order of the rows.
    """

    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    embedding_dim: int
    factors_l2: float
    biases_l2: float
    deep_units: tuple[int, ...]
    dropout: float
    leave_one_out: bool
    item_history: bool
    explicit: bool
    side: bool
    time: bool
    seed: int

    def __post_init__(self) -> None:
        choose("model", self.model, MODELS)
        for name in ("epochs", "batch_size", "embedding_dim"):
            require(self, name, getattr(self, name) >= 1, "be at least 1")
        for name in ("factors_l2", "biases_l2", "seed"):
            require(self, name, getattr(self, name) >= 0, "not be negative")
        require(self, "learning_rate", self.learning_rate > 0, "be positive")
        require(self, "dropout", 0 <= self.dropout < 1, "lie in [0, 1)")
        require(self, "seed", self.seed < 2**32, "be less than 2**32")
        require(
            self,
            "deep_units",
            all(units >= 1 for units in self.deep_units),
            "hold positive integers",
        )
        for name in ("item_history", "explicit"):
            require(
                self,
                name,
                not getattr(self, name) or bool(self.histories),
                "be false: plain factors have no history",
            )

    @classmethod
    def of_data(cls, data: str, model: str, **changes: Any) -> "RatingRecipe":
        """Does as `of`, for the one data set that there is."""
        choose("data", data, ("movielens-100k",))
        return cls.of(model, **changes)

    @property
    def histories(self) -> tuple[str, ...]:
        """Sides whose factor has a history."""
        if self.model == "factors":
            return ()
        return ("user", "item") if self.item_history else ("user",)

    @classmethod
    def of(
        cls, model: str = "factor-network", **changes: Any
    ) -> "RatingRecipe":
        """Takes the defaults of a model, with some changes.

        Args:
            model: one of `MODELS`.
            **changes: other fields, by name.

        Returns:
            The recipe.

        Raises:
            UsageError: if a name is unknown or a value has the wrong type or
                is out of range.

        Example:
            >>> RatingRecipe.of("svd-pp", epochs=3).epochs
            3
        """
        choose("model", model, MODELS)
        fields = {**COMMON, **DEFAULTS[model], "model": model}
        return cls(**{**fields, **checked(cls, changes)})


# What holds for all models.
COMMON: dict[str, Any] = {
    "batch_size": 2000,
    "learning_rate": 0.005,
    "embedding_dim": 32,
    "biases_l2": 0.02,
    "deep_units": (),
    "dropout": 0.0,
    "leave_one_out": False,
    "item_history": False,
    "explicit": False,
    "side": False,
    "time": False,
    "seed": 42,
}

DEFAULTS: dict[str, dict[str, Any]] = {
    "factors": {"epochs": 12, "factors_l2": 0.04},
    "svd-pp": {"epochs": 8, "factors_l2": 0.04},
    "factor-network": {
        "epochs": 4,
        "factors_l2": 0.02,
        "deep_units": (64, 32),
        "dropout": 0.3,
        "leave_one_out": True,
        "item_history": True,
        "explicit": True,
        "side": True,
        "time": True,
    },
}
