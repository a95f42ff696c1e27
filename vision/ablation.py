"""What each augmentation brings: the same training with and without it."""

import dataclasses
import os
from typing import Any

import numpy as np

from keras_multi import backend
from keras_multi.files import METRICS, prepare_folder, write_json
from vision.recipe import Recipe
from vision.train import train_seeds

RAND_AUGMENT = "rand-m9-n2"
SETTINGS: dict[str, tuple[str, ...]] = {
    "none": (),
    "CutMix": ("cutmix",),
    "MixUp": ("mixup",),
    "RandAugment": (RAND_AUGMENT,),
    "all": (RAND_AUGMENT, "mixup", "cutmix"),
}


def ablate(
    recipe: Recipe,
    seeds: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a recipe with each of `SETTINGS` in place of its augmentation.

    Each setting has a folder of its own in the output folder, and each seed
    one in there. Runs that are finished there are not trained again.

    Args:
        recipe: what to train; its seed is the first one.
        seeds: number of seeds, at least 2.
        output_dir: folder to write to.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `seeds`,
        `epochs`, and by setting `test` (means over the seeds) and `test_std`
        (sample standard deviations), and `seconds` of a run (mean).

    Raises:
        UsageError: if there are fewer than two seeds.
        KerasMultiError: as `vision.train.train`.
    """
    folder = prepare_folder(output_dir)
    settings = {}
    for name, augment in SETTINGS.items():
        one = dataclasses.replace(recipe, augment=augment)
        found = train_seeds(one, seeds, folder / name.lower(), progress)
        settings[name] = {
            "augment": list(augment),
            "test": found["test"],
            "test_std": found["test_std"],
            "seconds": float(
                np.mean([run["seconds"] for run in found["runs"]])
            ),
        }
    result = {
        "backend": backend.name(),
        "model": recipe.model,
        "data": recipe.data,
        "seeds": found["seeds"],
        "epochs": recipe.epochs,
        "settings": settings,
    }
    write_json(folder / METRICS, result)
    return result
