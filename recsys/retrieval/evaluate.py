"""A finished run: loaded, and measured on its test rows."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from keras_multi.files import METRICS, RECIPE, read_json, read_model
from recsys.features import Features
from recsys.retrieval.data import Split, load, seen_items
from recsys.retrieval.inputs import Inputs
from recsys.retrieval.measure import measure
from recsys.retrieval.recipe import RetrievalRecipe
from recsys.two_tower import TwoTower

MODEL = "model.keras"
USER_FEATURES, ITEM_FEATURES = "user_features.json", "item_features.json"
HISTORY = "history.json"
BATCH_SIZE = 4_096


@dataclass(frozen=True)
class Run:
    """A trained model with what belongs to it.

    Attributes:
        recipe: how it was trained.
        inputs: what turns tables into its inputs.
        model: the model.
    """

    recipe: RetrievalRecipe
    inputs: Inputs
    model: TwoTower

    def user_vectors(self, table: Table) -> np.ndarray:
        """Encodes users, one row of the table each.

        Args:
            table: rows with the columns of the user's features and
                `timestamp`, the time at which they ask.

        Returns:
            Float32 `(rows, dim)`.
        """
        return encode(self.model.user_tower, self.inputs.users(table))

    def item_vectors(self) -> np.ndarray:
        """Encodes the corpus `inputs.items`: float32 `(items, dim)`."""
        return encode(self.model.item_tower, self.inputs.corpus())


def load_run(directory: str | os.PathLike[str]) -> Run:
    """Loads what `recsys.retrieval.train.train` has saved.

    Args:
        directory: the output folder of the training.

    Returns:
        Recipe, inputs and model. The backend may be another one than in
        training. The histories of the users come from the data set.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched.
    """
    return Run(*load_parts(directory, RetrievalRecipe))


def load_parts(
    directory: str | os.PathLike[str], kind: type[RetrievalRecipe]
) -> tuple[Any, Inputs, Any]:
    """Loads the recipe, the inputs and the model of a run.

    Args:
        directory: the output folder of the training.
        kind: class of the recipe.

    Raises:
        DataError: as `load_run`.
    """
    folder = Path(directory)
    read_json(folder / METRICS)  # Written last: the others are complete.
    try:
        recipe = kind.of_json(read_json(folder / RECIPE))
    except UsageError as error:
        raise DataError(
            f"{folder / RECIPE} does not hold a {kind.__name__}: {error}; "
            "train again"
        ) from error
    user = Features.load(folder / USER_FEATURES)
    item = Features.load(folder / ITEM_FEATURES)
    model = read_model(folder / MODEL)
    split = load(recipe.data, recipe.protocol)
    return recipe, Inputs.of(user, item, recipe.windows, split), model


def evaluate(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Measures a trained model on the test rows of its protocol.

    Args:
        directory: the output folder of the training.

    Returns:
        `backend`, `model`, `data`, `protocol`, `rows` and `test`, the
        metrics of `recsys.retrieval.measure.measure`.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched.
    """
    run = load_run(directory)
    split = load(run.recipe.data, run.recipe.protocol)
    return {
        "backend": backend.name(),
        "model": "two-tower",
        "data": run.recipe.data,
        "protocol": run.recipe.protocol,
        "rows": len(split.test),
        "test": measure_run(run, split),
    }


def measure_run(run: Run, split: Split) -> dict[str, float]:
    """Measures a model on the test rows of a split."""
    seen = seen_items(
        split.train["user_id"],
        split.rows_of_items(split.train),
        split.test["user_id"],
    )
    return measure(
        run.user_vectors(split.test),
        run.item_vectors(),
        split.rows_of_items(split.test),
        seen,
    )


def encode(tower: keras.layers.Layer, inputs: dict[str, Any]) -> np.ndarray:
    """Runs a tower without dropout, batch by batch.

    Args:
        tower: the tower.
        inputs: its inputs, as NumPy arrays.

    Returns:
        Float32 `(rows, dim)`.
    """
    compiled = backend.inference(lambda x: tower(x, training=False))
    rows = len(keras.tree.flatten(inputs)[0])
    parts = []
    for start in range(0, rows, BATCH_SIZE):
        batch = keras.tree.map_structure(
            lambda array, start=start: ops.convert_to_tensor(
                array[start : start + BATCH_SIZE]
            ),
            inputs,
        )
        vectors = ops.cast(compiled(batch), "float32")
        parts.append(ops.convert_to_numpy(vectors))
    return np.concatenate(parts)
