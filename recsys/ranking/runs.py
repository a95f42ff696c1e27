"""The folder of a run: how it starts, and the same run with other seeds."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi import backend
from recsys.evaluate import METRICS, RECIPE
from recsys.files import prepare_folder, read_json, write_json


def start_run(
    recipe: Any, output_dir: str | os.PathLike[str]
) -> tuple[Path, bool]:
    """Prepares the folder of a run.

    The recipe is written first, so that a checkpoint in the folder is known
    to be of this recipe or not; `metrics.json` of an earlier run goes.

    Args:
        recipe: a dataclass.
        output_dir: folder to write to, made if it is not there.

    Returns:
        The folder, and whether what lies in it is of the same recipe, so
        that the training may go on from a checkpoint.

    Raises:
        KerasMultiError: if the folder cannot be written.
    """
    folder = prepare_folder(output_dir)
    same = _holds(folder, recipe)
    (folder / METRICS).unlink(missing_ok=True)
    write_json(folder / RECIPE, dataclasses.asdict(recipe))
    return folder, same


def run_seeds(
    train: Callable[..., dict[str, Any]],
    recipe: Any,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains with several seeds, each in a folder `seed-42` of its own.

    The data and their split stay the same. After a crash the same call goes
    on with the runs that are not finished.

    Args:
        train: `train(recipe, folder, progress)`, which gives `metrics.json`.
        recipe: what to train; its seed is the first one.
        count: number of seeds, at least 2.
        output_dir: folder to write to.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `seeds`, the
        means of the metrics under `test` (or `validation`), their sample
        standard deviations under `test_std`, and `runs`.

    Raises:
        KerasMultiError: as `train`.
    """
    folder = prepare_folder(output_dir)
    runs = []
    for seed in range(recipe.seed, recipe.seed + count):
        one = dataclasses.replace(recipe, seed=seed)
        place = folder / f"seed-{seed}"
        if _holds(place, one) and (place / METRICS).exists():
            result = read_json(place / METRICS)
            if result["backend"] == backend.name():
                runs.append(result)
                continue
        runs.append(train(one, place, progress))
        keras.utils.clear_session()
    part = recipe.holdout
    values = {name: [run[part][name] for run in runs] for name in runs[0][part]}
    result = {
        **{name: runs[0][name] for name in ("backend", "model", "data")},
        "seeds": [run["seed"] for run in runs],
        part: {name: float(np.mean(v)) for name, v in values.items()},
        f"{part}_std": {
            name: float(np.std(v, ddof=1)) for name, v in values.items()
        },
        "runs": runs,
    }
    write_json(folder / METRICS, result)
    return result


def _holds(folder: Path, recipe: Any) -> bool:
    """Whether the folder is one of this recipe."""
    if not (folder / RECIPE).exists():
        return False
    fields = json.loads(json.dumps(dataclasses.asdict(recipe)))
    return bool(read_json(folder / RECIPE) == fields)
