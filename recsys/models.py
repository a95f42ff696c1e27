"""The models that can be trained by name, each with its recipe."""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_multi.errors import DataError
from keras_multi.fields import choose
from keras_multi.files import METRICS, read_json


@dataclass(frozen=True)
class Entry:
    """Where a model's recipe and training are, as `module:name`.

    Attributes:
        about: a few words for the help.
        recipe: a function `(data, model, **fields) -> recipe`.
        train: a function `(recipe, folder) -> result`.
        train_seeds: a function `(recipe, count, folder) -> result`.
        evaluate: a function `(folder) -> result`.
    """

    about: str
    recipe: str
    train: str
    train_seeds: str
    evaluate: str


def _rating(about: str) -> Entry:
    return Entry(
        about,
        "recsys.rating.recipe:RatingRecipe.of_data",
        "recsys.rating.train:train",
        "recsys.rating.train:train_seeds",
        "recsys.rating.train:evaluate",
    )


def _cold(about: str) -> Entry:
    return Entry(
        about,
        "recsys.cold_start.recipe:ColdStartRecipe.of",
        "recsys.cold_start.train:train",
        "recsys.cold_start.seeds:train_seeds",
        "recsys.cold_start.train:evaluate",
    )


def _dcn(about: str) -> Entry:
    return Entry(
        about,
        "recsys.recipe:Recipe.of",
        "recsys.train:train",
        "recsys.seeds:train_seeds",
        "recsys.evaluate:evaluate",
    )


MODELS = {
    "dcn": _dcn("rating or click by a Deep & Cross Network"),
    "dnn": _dcn("the same without crosses"),
    "factors": _rating("rating by matrix factorization"),
    "svd-pp": _rating("rating by SVD++"),
    "factor-network": _rating("rating by factors, histories, time, features"),
    "two-tower": Entry(
        "retrieval",
        "recsys.retrieval.recipe:RetrievalRecipe.of_data",
        "recsys.retrieval.train:train",
        "recsys.retrieval.seeds:run_seeds",
        "recsys.retrieval.evaluate:evaluate",
    ),
    "list-ranker": Entry(
        "order of the items of a list",
        "recsys.ranking.recipe:ListRecipe.of_data",
        "recsys.ranking.train:train",
        "recsys.ranking.train:train_seeds",
        "recsys.ranking.evaluate:evaluate",
    ),
    "multi-task": Entry(
        "retrieval and rating in one model",
        "recsys.multi.recipe:MultiRecipe.of_data",
        "recsys.multi.train:train",
        "recsys.multi.train:train_seeds",
        "recsys.multi.evaluate:evaluate",
    ),
    "cold-items": _cold("retrieval of items without history"),
    "cold-users": _cold("retrieval for users without history"),
}


def recipe(model: str, data: str, fields: dict[str, Any]) -> Any:
    """Makes the recipe of a model.

    Args:
        model: a key of `MODELS`.
        data: name of the data set.
        fields: what differs from the defaults.

    Raises:
        UsageError: if the model or a field is unknown, or a value is of the
            wrong type or out of range.
    """
    choose("model", model, tuple(MODELS))
    return _find(MODELS[model].recipe)(data, model, **fields)


def train(
    model: str, recipe: Any, seeds: int, folder: str | os.PathLike[str]
) -> dict[str, Any]:
    """Trains a model, with one seed or several.

    Args:
        model: a key of `MODELS`.
        recipe: what `recipe` made.
        seeds: number of seeds.
        folder: folder to write to.

    Returns:
        What `metrics.json` in the folder holds.
    """
    entry = MODELS[model]
    if seeds == 1:
        result: dict[str, Any] = _find(entry.train)(recipe, folder)
        return result
    result = _find(entry.train_seeds)(recipe, seeds, folder)
    return result


def evaluate(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Measures a trained model on its test rows.

    Args:
        folder: the output folder of a training with one seed.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched.
    """
    model = read_json(Path(folder) / METRICS).get("model")
    if model not in MODELS:
        raise DataError(
            f"{folder} holds a run of {model!r}, which is none of "
            f"{', '.join(MODELS)}; train again"
        )
    result: dict[str, Any] = _find(MODELS[model].evaluate)(folder)
    return result


def _find(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
