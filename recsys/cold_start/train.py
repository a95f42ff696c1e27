"""Training without some items or users, and the ranking of those."""

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_multi import backend, optimizers, training
from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from keras_multi.fields import checked
from keras_multi.files import (
    METRICS,
    prepare_folder,
    read_json,
    read_model,
    write_json,
    write_model,
)
from recsys.cold_start import data
from recsys.cold_start.evaluate import (
    Question,
    baselines,
    measure,
    question,
)
from recsys.cold_start.recipe import ColdStartRecipe
from recsys.evaluate import MODEL, RECIPE
from recsys.features import Features
from recsys.two_tower import Tower, TwoTower

USER_FEATURES, ITEM_FEATURES = "user_features.json", "item_features.json"


class Run(NamedTuple):
    """A trained model with what belongs to it.

    Attributes:
        recipe: how it was trained.
        user_features: what turns rows into inputs of the user tower.
        item_features: what turns rows into inputs of the item tower, see
            `recsys.cold_start.data.item_inputs`.
        model: the towers.
    """

    recipe: ColdStartRecipe
    user_features: Features
    item_features: Features
    model: TwoTower


def train(
    recipe: ColdStartRecipe,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
    validation: bool = False,
) -> dict[str, Any]:
    """Trains two towers and ranks what they have not seen.

    The folder then holds `model.keras`, `user_features.json`,
    `item_features.json`, `recipe.json` and, written last, `metrics.json`. A
    call after a crash goes on from the last full epoch.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar on stderr.
        validation: whether to leave the test rows alone and to hold out from
            the training part once more, for choosing settings.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `inputs`,
        `seed`, `rows`, `users` and `candidates` (what is ranked for whom),
        `baselines` and `test`, the metrics.

    Raises:
        KerasMultiError: if the folder cannot be written, the loss is not
            finite, or a checkpoint in the folder belongs to another run.
        DataError: if the data cannot be fetched.
    """
    folder = prepare_folder(output_dir)
    split = data.load(recipe, validation)
    run = build(recipe, split.train)
    training.fit(
        run.model,
        _examples(run, split.train),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        checkpoint_dir=folder,
        progress=progress,
        description=f"{recipe.model} by {recipe.inputs}, seed {recipe.seed}",
    )
    result = _report(run, split)
    _save(folder, run, result)
    training.remove_checkpoint(folder)
    return result


def build(recipe: ColdStartRecipe, train_table: Table) -> Run:
    """Fits the features and makes the compiled model, seeded."""
    backend.seed(recipe.seed)
    users = data.user_features(recipe).fit(train_table)
    items = data.item_features(recipe).fit(train_table)
    model = TwoTower(
        _tower(recipe, users, users.num_dense),
        _tower(recipe, items, data.item_num_dense(recipe, items)),
        temperature=recipe.temperature,
    )
    steps = -(-len(train_table) // recipe.batch_size) * recipe.epochs
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    model.compile(optimizers.Adam(rate))
    return Run(recipe, users, items, model)


def scores(run: Run, asked: Question) -> np.ndarray:
    """Scores of all candidates for all users, float32 `(U, C)`."""
    users = run.user_features.transform(asked.users)
    items = data.item_inputs(run.recipe, run.item_features, asked.items)
    queries = run.model.user_tower(users, training=False)
    candidates = run.model.item_tower(items, training=False)
    product = ops.matmul(queries, ops.transpose(candidates))
    return np.asarray(ops.convert_to_numpy(product))


def load_run(directory: str | os.PathLike[str]) -> Run:
    """Loads what `train` has saved, on any backend.

    Args:
        directory: the output folder of the training.

    Raises:
        DataError: if the folder holds no finished run, or a file in it is
            damaged.
    """
    folder = Path(directory)
    read_json(folder / METRICS)  # Written last: the others are complete.
    try:
        fields = read_json(folder / RECIPE)
        recipe = ColdStartRecipe(**checked(ColdStartRecipe, fields))
    except UsageError as error:
        raise DataError(
            f"{folder / RECIPE} does not hold a recipe: {error}; train again"
        ) from error
    users = Features.load(folder / USER_FEATURES)
    items = Features.load(folder / ITEM_FEATURES)
    model = read_model(folder / MODEL)
    return Run(recipe, users, items, model)


def evaluate(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Measures a trained model on what was held out in its training.

    Args:
        directory: the output folder of the training.

    Returns:
        `backend`, `model`, `data`, `users`, `candidates`, `baselines` and
        `test`.

    Raises:
        DataError: as `load_run`, or if the data cannot be fetched.
    """
    run = load_run(directory)
    split = data.load(run.recipe)
    return _report(run, split)


def _report(run: Run, split: data.Split) -> dict[str, Any]:
    asked = question(run.recipe, split)
    return {
        "backend": backend.name(),
        "model": run.recipe.model,
        "data": run.recipe.data,
        "inputs": run.recipe.inputs,
        "seed": run.recipe.seed,
        "rows": {"train": len(split.train), "test": len(split.test)},
        "users": len(asked.users),
        "candidates": len(asked.items),
        "baselines": baselines(run.recipe, split, asked),
        "test": measure(scores(run, asked), asked.labels),
    }


def _tower(
    recipe: ColdStartRecipe, features: Features, num_dense: int
) -> Tower:
    return Tower(
        features.vocabulary_sizes,
        num_dense,
        features.bag_sizes,
        embedding_dim=recipe.embedding_dim,
        units=recipe.units,
        dropout=recipe.dropout,
        embeddings_regularizer=(
            keras.regularizers.L2(recipe.embeddings_l2)
            if recipe.embeddings_l2
            else None
        ),
    )


def _examples(run: Run, table: Table) -> tuple[Any, np.ndarray]:
    """Inputs of both towers and the id of the item, one row a rating."""
    _, place, counts = np.unique(
        table["item_id"], return_inverse=True, return_counts=True
    )
    share = (counts / len(table)) ** run.recipe.logq
    inputs = {
        "user": run.user_features.transform(table),
        "item": data.item_inputs(run.recipe, run.item_features, table),
        "sampling_probability": share[place].astype(np.float32),
    }
    return inputs, table["item_id"].astype(np.int32)


def _save(folder: Path, run: Run, result: dict[str, Any]) -> None:
    """Writes the files of a run; `metrics.json` says that it is complete."""
    (folder / METRICS).unlink(missing_ok=True)
    write_model(folder / MODEL, run.model)
    run.user_features.save(folder / USER_FEATURES)
    run.item_features.save(folder / ITEM_FEATURES)
    write_json(folder / RECIPE, dataclasses.asdict(run.recipe))
    write_json(folder / METRICS, result)
