"""Training of factor models: from a recipe to a folder with its figures."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi import backend, optimizers, training
from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from keras_multi.files import (
    METRICS,
    prepare_folder,
    read_json,
    read_model,
    write_json,
    write_model,
)
from recsys import data
from recsys.evaluate import HISTORY, MODEL, RECIPE, metrics, predict
from recsys.factors import FactorNetwork
from recsys.rating.inputs import RatingInputs
from recsys.rating.recipe import RatingRecipe

DATA = "movielens-100k"
ROWS = "training_rows.npz"


@dataclass(frozen=True)
class RatingRun:
    """A trained factor model with what belongs to it.

    Attributes:
        recipe: how it was trained.
        inputs: what turns a table into its inputs.
        model: the model.
    """

    recipe: RatingRecipe
    inputs: RatingInputs
    model: FactorNetwork

    def predict(self, table: Table) -> np.ndarray:
        """Predicts ratings, within the range of the training ratings.

        Args:
            table: rows with users, items and what else the recipe uses; the
                rating in it is not read.

        Returns:
            Float32 array `(rows,)`.
        """
        predicted = predict(self.model, self.inputs.transform(table))
        return np.clip(predicted, self.inputs.lowest, self.inputs.highest)


def train(
    recipe: RatingRecipe,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a factor model on MovieLens 100K and saves all that belongs to it.

    The folder then holds `model.keras`, `training_rows.npz` (the rows that
    inputs depend on: the data, so mind their licence), `recipe.json`,
    `history.json` and, written last, `metrics.json`. While the training runs
    it holds a checkpoint: the same call after a crash goes on from the last
    full epoch.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `seed`,
        `parameters`, `epochs`, `rows`, `test`.

    Raises:
        KerasMultiError: if the folder cannot be written, the loss is not
            finite, or a checkpoint in the folder belongs to another run.
        DataError: if the data cannot be fetched or used.
    """
    folder = prepare_folder(output_dir)
    split = data.load(DATA)
    run, history = fit(recipe, split.train, folder, progress)
    target = split.test[split.test.target]
    result = {
        "backend": backend.name(),
        "model": recipe.model,
        "data": DATA,
        "seed": recipe.seed,
        "parameters": run.model.count_params(),
        "epochs": history.epochs,
        "rows": {"train": len(split.train), "test": len(split.test)},
        "test": metrics(target, run.predict(split.test), binary=False),
    }
    (folder / METRICS).unlink(missing_ok=True)
    write_model(folder / MODEL, run.model)
    run.inputs.save(folder / ROWS)
    write_json(folder / RECIPE, dataclasses.asdict(recipe))
    write_json(folder / HISTORY, dataclasses.asdict(history))
    write_json(folder / METRICS, result)
    training.remove_checkpoint(folder)
    return result


def train_seeds(
    recipe: RatingRecipe,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a recipe with several seeds: see `training.repeat`."""
    return training.repeat(train, recipe, count, output_dir, progress)


def fit(
    recipe: RatingRecipe,
    table: Table,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> tuple[RatingRun, training.History]:
    """Trains a factor model on the rows of a table, and on nothing else.

    Args:
        recipe: what to train.
        table: the training rows.
        checkpoint_dir: folder of the checkpoint; `None` writes none.
        progress: whether to show a progress bar on stderr.

    Returns:
        The trained model with its inputs, and what happened in training.

    Raises:
        KerasMultiError: as `train`.
    """
    inputs = RatingInputs(table, recipe.side, recipe.time)
    model = build(recipe, inputs)
    history = training.fit(
        model,
        (inputs.transform(table), table[table.target][:, None]),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        checkpoint_dir=checkpoint_dir,
        progress=progress,
        description=f"{recipe.model}, seed {recipe.seed}",
    )
    return RatingRun(recipe, inputs, model), history


def build(recipe: RatingRecipe, inputs: RatingInputs) -> FactorNetwork:
    """Makes the compiled model of a recipe, seeded, with its history.

    Args:
        recipe: the recipe.
        inputs: made from the training rows.

    Returns:
        The model, compiled with Adam and mean squared error.
    """
    backend.seed(recipe.seed)
    model = FactorNetwork(
        **inputs.sizes,
        embedding_dim=recipe.embedding_dim,
        histories=recipe.histories,
        explicit=recipe.explicit,
        leave_one_out=recipe.leave_one_out,
        deep_units=recipe.deep_units,
        dropout=recipe.dropout,
        factors_l2=recipe.factors_l2,
        biases_l2=recipe.biases_l2,
        output_bias=inputs.mean,
    )
    if recipe.histories:
        values: tuple[np.ndarray, ...] = ()
        if recipe.explicit:
            values = (inputs.user_values, inputs.item_values)
        model.set_history(*inputs.pairs.T, *values)
    steps = -(-len(inputs.train) // recipe.batch_size) * recipe.epochs
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    model.compile(
        optimizers.Adam(rate),
        "mean_squared_error",
        metrics=[keras.metrics.RootMeanSquaredError("rmse")],
    )
    return model


def load_run(directory: str | os.PathLike[str]) -> RatingRun:
    """Loads what `train` has saved; the backend may be another one.

    Args:
        directory: the output folder of the training.

    Returns:
        Recipe, inputs and model.

    Raises:
        DataError: if the folder holds no finished run, or a file in it is
            damaged.
    """
    folder = Path(directory)
    read_json(folder / METRICS)  # Written last: the others are complete.
    try:
        recipe = RatingRecipe.of(**read_json(folder / RECIPE))
    except (TypeError, UsageError) as error:
        raise DataError(
            f"{folder / RECIPE} does not hold a recipe: {error}; train again"
        ) from error
    inputs = RatingInputs.load(
        folder / ROWS, "rating", recipe.side, recipe.time
    )
    model = read_model(folder / MODEL)
    return RatingRun(recipe, inputs, model)


def evaluate(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Measures a trained factor model on the test rows.

    Args:
        directory: the output folder of the training.

    Returns:
        `backend`, `model`, `data`, `rows` and `test`, the metrics.

    Raises:
        DataError: if the folder holds no finished run, a file in it is
            damaged, or the data cannot be fetched.
    """
    run = load_run(directory)
    test = data.load(DATA).test
    return {
        "backend": backend.name(),
        "model": run.recipe.model,
        "data": DATA,
        "rows": len(test),
        "test": metrics(test[test.target], run.predict(test), binary=False),
    }
