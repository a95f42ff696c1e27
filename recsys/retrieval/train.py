"""Training of two towers: from a recipe to a folder with its figures."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi import backend, optimizers, training
from keras_multi.files import prepare_folder, write_json, write_model
from keras_multi.precision import settled
from recsys.retrieval.data import Split, load
from recsys.retrieval.evaluate import (
    HISTORY,
    ITEM_FEATURES,
    METRICS,
    MODEL,
    RECIPE,
    USER_FEATURES,
    Run,
    measure_run,
)
from recsys.retrieval.inputs import Inputs
from recsys.retrieval.recipe import RetrievalRecipe
from recsys.two_tower import Tower, TwoTower


def train(
    recipe: RetrievalRecipe,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains two towers and saves them with all that belongs to them.

    The folder then holds `model.keras`, `user_features.json`,
    `item_features.json`, `recipe.json`, `history.json` and, written last,
    `metrics.json`. While the training runs it holds a checkpoint: the same
    call after a crash goes on from the last full epoch.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `protocol`,
        `features`, `seed`, `parameters`, `rows` and `test`, the metrics of
        `recsys.retrieval.measure.measure`.

    Raises:
        KerasMultiError: if the folder cannot be written, the loss is not
            finite, or a checkpoint in the folder belongs to another run.
        DataError: if the data cannot be fetched or used.
    """
    folder = prepare_folder(output_dir)
    split = load(recipe.data, recipe.protocol)
    run, history = fit(recipe, split, folder, progress)
    result = {
        "backend": backend.name(),
        "model": "two-tower",
        "data": recipe.data,
        "protocol": recipe.protocol,
        "features": recipe.features,
        "seed": recipe.seed,
        "parameters": run.model.count_params(),
        "rows": {name: len(table) for name, table in split._asdict().items()},
        "test": measure_run(run, split),
    }
    save(folder, run, history, result)
    training.remove_checkpoint(folder)
    return result


def validate(recipe: RetrievalRecipe, progress: bool = False) -> dict[str, Any]:
    """Measures a recipe on validation rows, to choose settings by.

    It trains on the other rows of the training part; no test row plays a
    part, and nothing is saved.

    Args:
        recipe: what to train.
        progress: whether to show a progress bar on stderr.

    Returns:
        The metrics of `recsys.retrieval.measure.measure`.
    """
    split = load(recipe.data, recipe.protocol, validation=True)
    run, _ = fit(recipe, split, None, progress)
    return measure_run(run, split)


def fit(
    recipe: RetrievalRecipe,
    split: Split,
    checkpoint_dir: Path | None,
    progress: bool,
) -> tuple[Run, training.History]:
    """Trains the model of a recipe on the training rows of a split."""
    inputs = Inputs.fit(recipe, split)
    rows = len(split.train)
    data = examples(recipe, inputs, split)
    recipe = settled(
        recipe, lambda known: build(known, inputs, rows), lambda _: data
    )
    model = build(recipe, inputs, rows)
    history = training.fit(
        model,
        data,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        checkpoint_dir=checkpoint_dir,
        progress=progress,
        description=f"two-tower, seed {recipe.seed}",
    )
    return Run(recipe, inputs, model), history


def build(recipe: RetrievalRecipe, inputs: Inputs, rows: int) -> TwoTower:
    """Makes the compiled model of a recipe, seeded.

    Args:
        recipe: the recipe.
        inputs: fitted.
        rows: number of training rows; it sets the length of the schedule.

    Returns:
        The model, compiled with Adam.
    """
    backend.seed(recipe.seed)
    user_tower, item_tower = (
        Tower(
            features.vocabulary_sizes,
            features.num_dense,
            bag_sizes,
            embedding_dim=recipe.embedding_dim,
            units=recipe.units,
            dropout=recipe.dropout,
            normalize=recipe.normalize,
            embeddings_regularizer=(
                keras.regularizers.L2(recipe.embeddings_l2)
                if recipe.embeddings_l2
                else None
            ),
            dtype=recipe.precision,
        )
        for features, bag_sizes in (
            (inputs.user, inputs.user_bags),
            (inputs.item, inputs.item.bag_sizes),
        )
    )
    model = TwoTower(
        user_tower,
        item_tower,
        temperature=recipe.temperature,
        num_hard_negatives=recipe.num_hard_negatives,
        dtype=recipe.precision,
    )
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        steps = -(-rows // recipe.batch_size) * recipe.epochs
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(optimizers.Adam(rate))
    return model


def examples(
    recipe: RetrievalRecipe, inputs: Inputs, split: Split
) -> tuple[dict[str, Any], np.ndarray]:
    """Makes the training data: the inputs of `TwoTower`, and item rows.

    With extra negatives each row brings one more item, drawn with the seed
    of the recipe and each item with the same chance; shuffled batches mix
    them anew in each epoch. The chance of an item to be a candidate is then
    the mean of both chances.
    """
    items = split.rows_of_items(split.train)
    corpus = inputs.corpus()
    size = len(split.items)

    def take(rows: np.ndarray) -> dict[str, Any]:
        taken: dict[str, Any] = keras.tree.map_structure(
            lambda array: array[rows], corpus
        )
        return taken

    chance = np.bincount(items, minlength=size) / len(items)
    if recipe.extra_negatives:
        chance = (chance + 1 / size) / 2
    chance = (chance**recipe.logq).astype(np.float32)
    x = {
        "user": inputs.users(split.train),
        "item": take(items),
        "sampling_probability": chance[items],
    }
    if recipe.extra_negatives:
        generator = np.random.default_rng(recipe.seed)
        drawn = generator.integers(size, size=len(items))
        x["extra"] = {
            "item": take(drawn),
            "id": drawn.astype(np.int32),
            "sampling_probability": chance[drawn],
        }
    return x, items


def save(
    folder: Path, run: Any, history: training.History, result: dict[str, Any]
) -> None:
    """Writes the files of a run; `metrics.json` says that it is complete.

    Args:
        folder: of the run.
        run: has `recipe`, `inputs` and `model`.
        history: of the training.
        result: what `metrics.json` holds.
    """
    (folder / METRICS).unlink(missing_ok=True)
    write_model(folder / MODEL, run.model)
    run.inputs.user.save(folder / USER_FEATURES)
    run.inputs.item.save(folder / ITEM_FEATURES)
    write_json(folder / RECIPE, dataclasses.asdict(run.recipe))
    write_json(folder / HISTORY, dataclasses.asdict(history))
    write_json(folder / METRICS, result)
