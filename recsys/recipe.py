"""The recipe of a training run: what people tune, with its defaults."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from keras_multi.backend import AUTO, PRECISIONS
from keras_multi.fields import checked, choose, require

MODELS = ("dcn", "dnn")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Recipe:
    """Everything a training run depends on, but for the backend.

    Make it with `Recipe.of`, which knows the defaults of each data set.

    Attributes:
        data: name of the data set.
        model: `"dcn"`, or `"dnn"` for the same without cross layers.
        epochs: passes over the training rows.
        batch_size: rows per step.
        learning_rate: step size of Adam at the start.
        schedule: `"constant"`, or `"cosine"` to let it fall to 0.
        embedding_dim: width of the embeddings.
        embeddings_l2: weight of the sum of squares of all embeddings.
        num_cross_layers: number of cross layers of the DCN.
        projection_dim: rank of the cross layers; `None` for full rank.
        num_experts: low-rank experts per cross layer.
        deep_units: width of each layer of the perceptron.
        structure: `"stacked"` or `"parallel"`.
        dropout: share of values set to zero in training.
        patience: epochs without improvement on rows kept apart from the
            training rows after which to stop; `None` trains all epochs, on
            all training rows.
        precision: Keras dtype policy, or `"auto"` for the faster of float32
            and mixed_bfloat16: see `keras_multi.choose_precision`.
        seed: seed of the weights, the dropout and the order of the rows.
    """

    data: str
    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str
    embedding_dim: int
    embeddings_l2: float
    num_cross_layers: int
    projection_dim: int | None
    num_experts: int
    deep_units: tuple[int, ...]
    structure: str
    dropout: float
    patience: int | None
    precision: str
    seed: int

    def __post_init__(self) -> None:
        choose("model", self.model, MODELS)
        choose("data", self.data, tuple(DEFAULTS))
        choose("schedule", self.schedule, SCHEDULES)
        choose("structure", self.structure, ("stacked", "parallel"))
        choose("precision", self.precision, (*PRECISIONS, AUTO))
        for name in ("epochs", "batch_size", "embedding_dim", "num_experts"):
            require(self, name, getattr(self, name) >= 1, "be at least 1")
        for name in ("projection_dim", "patience"):
            value = getattr(self, name)
            require(self, name, value is None or value >= 1, "be at least 1")
        for name in ("embeddings_l2", "num_cross_layers", "seed"):
            require(self, name, getattr(self, name) >= 0, "not be negative")
        require(self, "learning_rate", self.learning_rate > 0, "be more than 0")
        require(self, "dropout", 0 <= self.dropout < 1, "lie in [0, 1)")
        require(self, "seed", self.seed < 2**32, "be less than 2**32")
        require(
            self,
            "deep_units",
            all(n >= 1 for n in self.deep_units),
            "hold positive integers",
        )
        require(
            self,
            "num_experts",
            self.num_experts == 1 or self.projection_dim is not None,
            "be 1 unless projection_dim is given",
        )
        require(
            self,
            "deep_units",
            bool(self.deep_units) or self.cross_layers > 0,
            "not be empty without cross layers",
        )

    @property
    def cross_layers(self) -> int:
        """Number of cross layers that the model has."""
        return self.num_cross_layers if self.model == "dcn" else 0

    @classmethod
    def of(cls, data: str, model: str = "dcn", **changes: Any) -> "Recipe":
        """Takes the defaults of a data set and model, with some changes.

        Args:
            data: name of the data set.
            model: `"dcn"` or `"dnn"`.
            **changes: other fields, by name.

        Returns:
            The recipe.

        Raises:
            UsageError: if a name is unknown or a value has the wrong type or
                is out of range.

        Example:
            >>> Recipe.of("blender", epochs=3).epochs
            3
        """
        choose("data", data, tuple(DEFAULTS))
        choose("model", model, MODELS)
        fields = {**COMMON, **DEFAULTS[data]["dcn"]}
        if model == "dnn":
            fields |= DEFAULTS[data].get("dnn", {})
        return cls(
            **checked(cls, {**fields, "data": data, "model": model, **changes})
        )

    def counterpart(self) -> Self:
        """The DNN to compare a DCN with.

        Fields that stand at the default of the DCN take that of the DNN, all
        others stay.
        """
        dcn = {**COMMON, **DEFAULTS[self.data]["dcn"]}
        own = {
            name: value
            for name, value in DEFAULTS[self.data].get("dnn", {}).items()
            if getattr(self, name) == dcn[name]
        }
        return dataclasses.replace(self, model="dnn", **own)


# What holds for all data sets.
COMMON: dict[str, Any] = {
    "schedule": "constant",
    "projection_dim": None,
    "num_experts": 1,
    "structure": "parallel",
    "dropout": 0.0,
    "embeddings_l2": 0.0,
    "patience": None,
    "precision": "float32",
    "seed": 42,
}

# What was chosen per data set, on rows kept apart from the training rows.
# The `dnn` has the settings of the `dcn` but for those under its own name.
DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "blender": {
        "dcn": {
            "epochs": 20,
            "batch_size": 1024,
            "learning_rate": 0.03,
            "schedule": "cosine",
            "embedding_dim": 1,
            "num_cross_layers": 1,
            "deep_units": (),
        },
        "dnn": {"deep_units": (512, 256, 128), "learning_rate": 0.001},
    },
    "movielens-100k": {
        "dcn": {
            "epochs": 10,
            "batch_size": 2000,
            "learning_rate": 0.01,
            "schedule": "cosine",
            "embedding_dim": 32,
            "embeddings_l2": 1e-3,
            "num_cross_layers": 2,
            "deep_units": (64,),
            "dropout": 0.2,
        },
        "dnn": {"deep_units": (192, 192)},
    },
    "adult": {
        "dcn": {
            "epochs": 8,
            "batch_size": 512,
            "learning_rate": 0.001,
            "embedding_dim": 8,
            "num_cross_layers": 2,
            "deep_units": (128, 64),
            "dropout": 0.2,
        },
    },
}
