"""The same training with several seeds, and a DNN beside each DCN."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy import stats

from keras_multi import backend
from keras_multi.errors import UsageError
from keras_multi.files import METRICS, prepare_folder, read_json, write_json
from recsys.evaluate import RECIPE
from recsys.recipe import Recipe
from recsys.train import train


def train_seeds(
    recipe: Recipe,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a model with several seeds, and a DNN beside each DCN.

    The data and their split stay the same; the seed decides the initial
    weights, the dropout and the order of the rows. Each run has a folder of
    its own in the output folder, named like `dcn-42`. After a crash the same
    call goes on with the runs that are not finished.

    Args:
        recipe: what to train; its seed is the first one.
        count: number of seeds, at least 2.
        output_dir: folder to write to.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `seeds`,
        `test` (means over the seeds), `test_std` (sample standard
        deviations), `runs` (each single result) and, for a DCN,
        `comparison` with the DNN (see `compare`).

    Raises:
        KerasMultiError: as `train`.
    """
    folder = prepare_folder(output_dir)
    recipes = [recipe]
    if recipe.model == "dcn":
        recipes.append(recipe.counterpart())
    seeds = [recipe.seed + i for i in range(count)]
    if (folder / METRICS).exists():  # Finished: this is a new start.
        for finished in recipes:
            for seed in seeds:
                shutil.rmtree(
                    folder / f"{finished.model}-{seed}", ignore_errors=True
                )
        (folder / METRICS).unlink()

    runs: dict[str, list[dict[str, Any]]] = {r.model: [] for r in recipes}
    for seed in seeds:
        for one in recipes:
            one = dataclasses.replace(one, seed=seed)
            place = folder / f"{one.model}-{seed}"
            runs[one.model].append(
                _finished(one, place) or train(one, place, progress)
            )
            keras.utils.clear_session()
    values = {
        name: [run["test"][name] for run in runs[recipe.model]]
        for name in runs[recipe.model][0]["test"]
    }
    result: dict[str, Any] = {
        "backend": backend.name(),
        "model": recipe.model,
        "data": recipe.data,
        "seeds": seeds,
        "test": {name: float(np.mean(v)) for name, v in values.items()},
        "test_std": {
            name: float(np.std(v, ddof=1)) for name, v in values.items()
        },
        "runs": runs,
    }
    if recipe.model == "dcn":
        metric = next(iter(values))
        others = [run["test"][metric] for run in runs["dnn"]]
        result["comparison"] = compare(metric, values[metric], others)
    write_json(folder / METRICS, result)
    return result


def repeat(
    train: Callable[..., dict[str, Any]],
    recipe: Any,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
    kept: Sequence[str] = (),
) -> dict[str, Any]:
    """Trains a recipe with several seeds.

    The split stays the same. Each run has a folder of its own in the output
    folder, named by its seed. A run that is finished there, of the same
    recipe and backend, is not trained again.

    Args:
        train: a function `(recipe, folder, progress) -> result`.
        recipe: what to train; its seed is the first one.
        count: number of seeds, at least 2.
        output_dir: folder to write to.
        progress: whether to show a progress bar on stderr.
        kept: further entries of a result that all runs share.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data` and what is
        `kept`, `seeds`, `test` (means over the seeds), `test_std` (sample
        standard deviations) and `runs` (each single result).

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
    result = {
        **{name: runs[0][name] for name in ("backend", "model", "data", *kept)},
        "seeds": [run["seed"] for run in runs],
        "test": {name: float(np.mean(v)) for name, v in values.items()},
        "test_std": {
            name: float(np.std(v, ddof=1)) for name, v in values.items()
        },
        "runs": runs,
    }
    write_json(folder / METRICS, result)
    return result


def compare(
    metric: str, dcn: list[float], dnn: list[float]
) -> dict[str, str | float]:
    """Compares paired results of DCN and DNN, one pair per seed.

    Args:
        metric: name of the metric.
        dcn: its values, by seed.
        dnn: its values, by the same seeds.

    Returns:
        Means, sample standard deviations, and the two-sided p-values of the
        paired t-test and of Wilcoxon's signed-rank test that both models are
        equally good. They speak of the seed alone, not of other data.
    """
    return {
        "metric": metric,
        "dcn_mean": float(np.mean(dcn)),
        "dcn_std": float(np.std(dcn, ddof=1)),
        "dnn_mean": float(np.mean(dnn)),
        "dnn_std": float(np.std(dnn, ddof=1)),
        "t_test_p": float(stats.ttest_rel(dcn, dnn).pvalue),
        "wilcoxon_p": float(stats.wilcoxon(dcn, dnn).pvalue),
    }


def _finished(recipe: Any, folder: Path) -> dict[str, Any] | None:
    """The result of a run that an earlier call has brought to its end."""
    if not (folder / METRICS).exists():
        return None
    result = read_json(folder / METRICS)
    fields = json.loads(json.dumps(dataclasses.asdict(recipe)))
    same = read_json(folder / RECIPE) == fields
    return result if same and result["backend"] == backend.name() else None
