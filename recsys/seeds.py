"""The same training with several seeds, and a DNN beside each DCN."""

import dataclasses
import os
import shutil
from typing import Any

import keras
import numpy as np
from scipy import stats

from keras_multi import backend
from keras_multi.files import METRICS, prepare_folder, write_json
from keras_multi.training.repeat import finished
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
        for done in recipes:
            for seed in seeds:
                shutil.rmtree(
                    folder / f"{done.model}-{seed}", ignore_errors=True
                )
        (folder / METRICS).unlink()

    runs: dict[str, list[dict[str, Any]]] = {r.model: [] for r in recipes}
    for seed in seeds:
        for one in recipes:
            one = dataclasses.replace(one, seed=seed)
            place = folder / f"{one.model}-{seed}"
            runs[one.model].append(
                finished(one, place) or train(one, place, progress)
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
