"""Cold start with several seeds, and ids alone beside the features."""

import dataclasses
import os
from typing import Any

import keras
import numpy as np

from keras_multi import backend
from keras_multi.files import METRICS, prepare_folder, write_json
from keras_multi.training.repeat import finished
from recsys.cold_start.recipe import ColdStartRecipe
from recsys.cold_start.train import train


def train_seeds(
    recipe: ColdStartRecipe,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains with several seeds by features, and each time by ids alone.

    Each seed holds out other items or users. Each run has a folder of its
    own in the output folder, named like `features-42`. A run that is finished
    there, of the same recipe and backend, is not trained again.

    Args:
        recipe: what to train; its seed is the first one.
        count: number of seeds, at least 2.
        output_dir: folder to write to.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `seeds`,
        `test` and `test_std` (means and sample standard deviations over the
        seeds), `baselines` and `baselines_std` (the same of what needs no
        training and of `ids`), and `runs`, each single result.

    Raises:
        KerasMultiError: as `train`.
    """
    folder = prepare_folder(output_dir)
    seeds = [recipe.seed + i for i in range(count)]
    runs: dict[str, list[dict[str, Any]]] = {recipe.inputs: [], "ids": []}
    for seed in seeds:
        for inputs, results in runs.items():
            one = dataclasses.replace(recipe, seed=seed, inputs=inputs)
            place = folder / f"{inputs}-{seed}"
            results.append(finished(one, place) or train(one, place, progress))
            keras.utils.clear_session()
    own = runs[recipe.inputs]
    others = {
        name: [run["baselines"][name] for run in own]
        for name in own[0]["baselines"]
    }
    others["ids"] = [run["test"] for run in runs["ids"]]
    mean, deviation = _summarize([run["test"] for run in own])
    result = {
        "backend": backend.name(),
        "model": recipe.model,
        "data": recipe.data,
        "seeds": seeds,
        "test": mean,
        "test_std": deviation,
        "baselines": {name: _summarize(v)[0] for name, v in others.items()},
        "baselines_std": {name: _summarize(v)[1] for name, v in others.items()},
        "runs": runs,
    }
    write_json(folder / METRICS, result)
    return result


def _summarize(
    results: list[dict[str, float]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Means and sample standard deviations by metric."""
    values = {name: [r[name] for r in results] for name in results[0]}
    return (
        {name: float(np.mean(v)) for name, v in values.items()},
        {name: float(np.std(v, ddof=1)) for name, v in values.items()},
    )
