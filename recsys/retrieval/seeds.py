"""The same training with several seeds."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi import backend
from keras_multi.errors import UsageError
from recsys.files import prepare_folder, read_json, write_json
from recsys.retrieval.evaluate import METRICS, RECIPE
from recsys.retrieval.recipe import RetrievalRecipe
from recsys.retrieval.train import train


def run_seeds(
    recipe: RetrievalRecipe,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a recipe with several seeds.

    The split stays the same. Each run has a folder of its own in the output
    folder, named by its seed. A run that is finished there, of the same
    recipe and backend, is not trained again.

    Args:
        recipe: what to train; its seed is the first one.
        count: number of seeds, at least 2.
        output_dir: folder to write to.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `protocol`,
        `features`, `seeds`, `test` (means over the seeds), `test_std`
        (sample standard deviations) and `runs` (each single result).

    Raises:
        UsageError: if `count` is below 2.
        KerasMultiError: as `train`.
    """
    if count < 2:
        raise UsageError(f"count must be at least 2. Received: {count}")
    folder = prepare_folder(output_dir)
    runs = []
    for seed in range(recipe.seed, recipe.seed + count):
        one = dataclasses.replace(recipe, seed=seed)
        place = folder / str(seed)
        runs.append(_finished(one, place) or train(one, place, progress))
        keras.utils.clear_session()
    values = {
        name: [run["test"][name] for run in runs] for name in runs[0]["test"]
    }
    same = ("backend", "model", "data", "protocol", "features")
    result = {
        **{name: runs[0][name] for name in same},
        "seeds": [run["seed"] for run in runs],
        "test": {name: float(np.mean(v)) for name, v in values.items()},
        "test_std": {
            name: float(np.std(v, ddof=1)) for name, v in values.items()
        },
        "runs": runs,
    }
    write_json(folder / METRICS, result)
    return result


def _finished(recipe: RetrievalRecipe, folder: Path) -> dict[str, Any] | None:
    """The result of a run that is there already."""
    if not (folder / METRICS).exists():
        return None
    result = read_json(folder / METRICS)
    same = RetrievalRecipe.of_json(read_json(folder / RECIPE)) == recipe
    return result if same and result["backend"] == backend.name() else None
