"""Two towers with several seeds."""

import os
from typing import Any

from keras_multi import training
from recsys.retrieval.recipe import RetrievalRecipe
from recsys.retrieval.train import train


def run_seeds(
    recipe: RetrievalRecipe,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a recipe with several seeds; see `training.repeat`."""
    kept = ("protocol", "features")
    return training.repeat(train, recipe, count, output_dir, progress, kept)
