"""The models that can be trained by name, each with its recipe."""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recsys.fields import choose


@dataclass(frozen=True)
class Entry:
    """Where a model's recipe and training are, as `module:name`.

    Attributes:
        about: a few words for the help.
        recipe: a function `(data, model, **fields) -> recipe`.
        train: a function `(recipe, folder) -> result`.
        train_seeds: a function `(recipe, count, folder) -> result`.
    """

    about: str
    recipe: str
    train: str
    train_seeds: str


_DCN = ("recsys.recipe:Recipe.of", "recsys.train:train")
_DCN_SEEDS = "recsys.seeds:train_seeds"

MODELS = {
    "dcn": Entry("rating or click: Deep & Cross Network", *_DCN, _DCN_SEEDS),
    "dnn": Entry("the same without crosses", *_DCN, _DCN_SEEDS),
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


def _find(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
