"""How well one model finds the items of a user and rates them."""

import os
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_multi import backend
from keras_multi.data import Table
from recsys.evaluate import PREDICT_BATCH_SIZE, metrics
from recsys.multi.recipe import MultiRecipe
from recsys.multi_task import MultiTaskRanker
from recsys.ranking.evaluate import clicks
from recsys.retrieval.data import Split, load, seen_items
from recsys.retrieval.evaluate import encode, load_parts
from recsys.retrieval.inputs import Inputs
from recsys.retrieval.measure import measure


@dataclass(frozen=True)
class MultiRun:
    """A trained model with what belongs to it.

    Attributes:
        recipe: how it was trained.
        inputs: what turns tables into its inputs.
        model: the model.
    """

    recipe: MultiRecipe
    inputs: Inputs
    model: MultiTaskRanker

    def pairs(self, table: Table, item_rows: np.ndarray) -> dict[str, Any]:
        """Gives the inputs of the model, one row a pair of user and item.

        Args:
            table: rows with the columns of the user's features and
                `timestamp`, the time at which they ask.
            item_rows: for each row the row of the item in `inputs.items`.
        """
        items = keras.tree.map_structure(
            lambda part: part[item_rows], self.inputs.corpus()
        )
        return {"user": self.inputs.users(table), "item": items}


def load_run(directory: str | os.PathLike[str]) -> MultiRun:
    """Loads what `recsys.multi.train.train` has saved.

    Args:
        directory: the output folder of the training.

    Returns:
        Recipe, inputs and model. The backend may be another one than in
        training. The histories of the users come from the data set.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched.
    """
    return MultiRun(*load_parts(directory, MultiRecipe))


def evaluate(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Measures a trained model on the test rows of its protocol.

    Args:
        directory: the output folder of the training.

    Returns:
        `backend`, `model`, `data`, `protocol`, `rows` and `test`, what
        `measure_run` gives.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched.
    """
    run = load_run(directory)
    split = load(run.recipe.data, run.recipe.protocol)
    return {
        "backend": backend.name(),
        "model": "multi-task",
        "data": run.recipe.data,
        "protocol": run.recipe.protocol,
        "rows": len(split.test),
        "test": measure_run(run, split),
    }


def measure_run(run: MultiRun, split: Split) -> dict[str, float]:
    """Measures all tasks on the test rows of a split.

    Returns:
        What `recsys.retrieval.measure.measure` gives; `rmse` and `mae` of
        the rating; `auc`, `log_loss` and `accuracy` of the click.
    """
    true = split.rows_of_items(split.test)
    result = measure(
        encode(run.model.user_tower, run.inputs.users(split.test)),
        encode(run.model.item_tower, run.inputs.corpus()),
        true,
        seen_items(
            split.train["user_id"],
            split.rows_of_items(split.train),
            split.test["user_id"],
        ),
    )
    outputs = run.model.predict(
        run.pairs(split.test, true), batch_size=PREDICT_BATCH_SIZE, verbose=0
    )
    if "rating" in outputs:
        target = split.test["rating"]
        result |= metrics(target, outputs["rating"], binary=False)
    if "click" in outputs:
        result |= metrics(clicks(split.test), outputs["click"], binary=True)
    return result
