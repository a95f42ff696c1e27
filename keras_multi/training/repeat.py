"""The same training with several seeds."""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi import backend
from keras_multi.errors import UsageError
from keras_multi.files import (
    METRICS,
    RECIPE,
    prepare_folder,
    read_json,
    write_json,
)


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
        runs.append(finished(one, place) or train(one, place, progress))
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


def finished(recipe: Any, folder: Path) -> dict[str, Any] | None:
    """The result of a run that an earlier call has brought to its end.

    Args:
        recipe: a dataclass, the recipe of the run.
        folder: its folder.

    Returns:
        What its `metrics.json` holds; `None` if the run is not finished, or
        had another recipe or backend.
    """
    if not (folder / METRICS).exists():
        return None
    result = read_json(folder / METRICS)
    fields = json.loads(json.dumps(dataclasses.asdict(recipe)))
    saved = read_json(folder / RECIPE)
    if fields.get("precision") == backend.AUTO:
        fields["precision"] = saved.get("precision")  # what was chosen
    same = saved == fields
    return result if same and result["backend"] == backend.name() else None
