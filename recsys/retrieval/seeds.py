"""Two towers with several seeds."""

import os
from typing import Any

from recsys.retrieval.recipe import RetrievalRecipe
from recsys.retrieval.train import train
from recsys.seeds import repeat


def run_seeds(
    recipe: RetrievalRecipe,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a recipe with several seeds; see `recsys.seeds.repeat`."""
    kept = ("protocol", "features")
    return repeat(train, recipe, count, output_dir, progress, kept)
