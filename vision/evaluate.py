"""How well a trained classifier does on images it has not seen."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from keras_multi import backend
from keras_multi.errors import DataError, UsageError
from keras_multi.files import METRICS, RECIPE, read_json
from vision.data import Examples, load
from vision.recipe import Recipe

if TYPE_CHECKING:
    from vision.classifier import Classifier

MODEL, HISTORY = "model.keras", "history.json"
CURVES, CONFUSION = "curves.png", "confusion.png"
TOP = 5


@dataclass(frozen=True)
class Run:
    """A trained classifier with what belongs to it.

    Attributes:
        recipe: how it was trained.
        model: the classifier.
    """

    recipe: Recipe
    model: "Classifier"


def load_run(directory: str | os.PathLike[str]) -> Run:
    """Loads what `vision.train.train` has saved.

    Args:
        directory: the output folder of the training.

    Returns:
        Recipe and model. The backend may be another one than in
        training.

    Raises:
        DataError: if the folder holds no finished run, or a file in it is
            damaged.
    """
    from vision.classifier import Classifier

    folder = Path(directory)
    read_json(folder / METRICS)  # Written last: the others are complete.
    try:
        recipe = Recipe.of(**read_json(folder / RECIPE))
    except (KeyError, TypeError, UsageError) as error:
        raise DataError(
            f"{folder / RECIPE} does not hold a recipe: {error}; train again"
        ) from error
    return Run(recipe, Classifier.from_preset(str(folder)))


def evaluate(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Measures a trained classifier on the test images of its data.

    Args:
        directory: the output folder of the training.

    Returns:
        `backend`, `model`, `data`, `images` and `test`, the metrics.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched or have other classes.
    """
    run = load_run(directory)
    recipe = run.recipe
    split = load(recipe.data, recipe.image_size, recipe.skip_damaged)
    known = run.model.class_names or ()
    if split.class_names != known:
        raise DataError(
            f"{recipe.data} now has other classes than the model, which knows "
            f"{', '.join(known)}; train again"
        )
    logits = predict(run.model, split.test, recipe.batch_size)
    return {
        "backend": backend.name(),
        "model": recipe.model,
        "data": recipe.data,
        "images": len(split.test),
        "test": metrics(split.test.labels, logits),
    }


def predict(model: Any, examples: Examples, batch_size: int) -> np.ndarray:
    """Computes logits: float32, `(n, classes)`."""
    logits = model.predict(examples.images, batch_size=batch_size, verbose=0)
    return np.asarray(logits, np.float32)


def metrics(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Compares predictions with the truth.

    Args:
        labels: integers `(n,)`.
        logits: floats `(n, classes)`.

    Returns:
        `accuracy`, the share of images whose largest logit is that of their
        class; `top_5_accuracy`, where it is among the five largest, if there
        are more than five classes; and `log_loss`, the mean cross entropy in
        nats.

    Example:
        >>> metrics(np.array([0, 1]), np.array([[2.0, 1.0], [2.0, 1.0]]))[
        ...     "accuracy"]
        0.5
    """
    rows = np.arange(len(labels))
    logits = logits.astype(np.float64)
    own = logits[rows, labels]
    # Of equal logits the first one counts as the larger, as in argmax.
    first = np.arange(logits.shape[1]) < labels[:, None]
    larger = (logits > own[:, None]) | ((logits == own[:, None]) & first)
    place = larger.sum(axis=1)
    result = {"accuracy": float(np.mean(place == 0))}
    if logits.shape[1] > TOP:
        result[f"top_{TOP}_accuracy"] = float(np.mean(place < TOP))
    loss = special.logsumexp(logits, axis=1) - own
    return {**result, "log_loss": float(np.mean(loss))}


def confusion(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Counts images by class and by the class that they are taken for.

    Args:
        labels: integers `(n,)`.
        logits: floats `(n, classes)`.

    Returns:
        Integers `(classes, classes)`, true classes in the rows.

    Example:
        >>> confusion(np.array([0, 1]), np.array([[2, 1], [2, 1]])).tolist()
        [[1, 0], [1, 0]]
    """
    classes = logits.shape[1]
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    return counts
