"""How good the predictions of a model are."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from keras_multi import backend
from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from keras_multi.files import METRICS, RECIPE, read_json, read_model
from recsys import data
from recsys.features import Features
from recsys.recipe import Recipe

if TYPE_CHECKING:
    from recsys.dcn import DCN

MODEL, FEATURES = "model.keras", "features.json"
HISTORY, CROSSES = "history.json", "crosses.png"
PREDICT_BATCH_SIZE = 10_000


@dataclass(frozen=True)
class Run:
    """A trained model with what belongs to it.

    Attributes:
        recipe: how it was trained.
        features: what turns a table into its inputs.
        model: the model.
    """

    recipe: Recipe
    features: Features
    model: "DCN"


def load_run(directory: str | os.PathLike[str]) -> Run:
    """Loads what `recsys.train.train` has saved.

    Args:
        directory: the output folder of the training.

    Returns:
        Recipe, features and model. The backend may be another one than in
        training.

    Raises:
        DataError: if the folder holds no finished run, or a file in it is
            damaged.
    """
    import recsys.dcn  # noqa: F401  (Keras finds the class by its name.)

    folder = Path(directory)
    read_json(folder / METRICS)  # Written last: the others are complete.
    try:
        fields = read_json(folder / RECIPE)
        fields["deep_units"] = tuple(fields["deep_units"])
        recipe = Recipe(**fields)
    except (KeyError, TypeError, UsageError) as error:
        raise DataError(
            f"{folder / RECIPE} does not hold a recipe: {error}; train again"
        ) from error
    features = Features.load(folder / FEATURES)
    model = read_model(folder / MODEL)
    return Run(recipe, features, model)


def evaluate(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Measures a trained model on the test rows of its data set.

    Args:
        directory: the output folder of the training.

    Returns:
        `backend`, `model`, `data`, `rows`, `unseen` (rows with a category
        unseen in training, by column) and `test`, the metrics.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched.
    """
    run = load_run(directory)
    test = data.load(run.recipe.data).test
    inputs = transform(run.features, test)
    predicted = predict(run.model, inputs)
    return {
        "backend": backend.name(),
        "model": run.recipe.model,
        "data": run.recipe.data,
        "rows": len(test),
        "unseen": run.features.unseen(inputs),
        "test": metrics(
            test[test.target], predicted, data.task(run.recipe.data).binary
        ),
    }


def transform(features: Features, table: Table) -> dict[str, Any]:
    """Turns a table into inputs, and reports unseen categories on stderr."""
    inputs = features.transform(table)
    for column, count in features.unseen(inputs).items():
        print(
            f"{column}: {count:,} of {len(table):,} rows unseen in training, "
            "mapped to 'unknown'",
            file=sys.stderr,
        )
    return inputs


def predict(model: "DCN", inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Predicts ratings or logits: float32, shape `(rows,)`."""
    outputs = model.predict(inputs, batch_size=PREDICT_BATCH_SIZE, verbose=0)
    return np.asarray(outputs)[:, 0]


def metrics(
    target: np.ndarray, predicted: np.ndarray, binary: bool
) -> dict[str, float]:
    """Compares predictions with the truth.

    Args:
        target: shape `(rows,)`; 0 or 1 if `binary`.
        predicted: shape `(rows,)`; logits if `binary`.
        binary: which metrics to give.

    Returns:
        `rmse` and `mae` of a number; `auc` (area under the ROC curve),
        `log_loss` and `accuracy` (at probability 0.5) of a class. `auc` is
        NaN if there is one class only.

    Example:
        >>> metrics(np.array([1.0, 2.0]), np.array([1.0, 4.0]), False)["mae"]
        1.0
    """
    target = target.astype(np.float64)
    predicted = predicted.astype(np.float64)
    if not binary:
        error = predicted - target
        return {
            "rmse": float(np.sqrt(np.mean(error**2))),
            "mae": float(np.mean(np.abs(error))),
        }
    positive = target == 1
    wins = stats.rankdata(predicted)[positive].sum()
    n, m = int(positive.sum()), int((~positive).sum())
    # Mann and Whitney 1947: the share of pairs in the right order.
    auc = (wins - n * (n + 1) / 2) / (n * m) if n and m else float("nan")
    signed = np.where(positive, predicted, -predicted)
    return {
        "auc": float(auc),
        "log_loss": float(-np.mean(special.log_expit(signed))),
        "accuracy": float(np.mean((predicted > 0) == positive)),
    }
