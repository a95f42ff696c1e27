"""Training for several tasks: from a recipe to a folder with a model."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from keras_multi import backend, training
from keras_multi.data import Table
from keras_multi.files import prepare_folder
from keras_multi.precision import settled
from recsys.multi.evaluate import MultiRun, measure_run
from recsys.multi.recipe import TASKS, MultiRecipe
from recsys.multi_task import RETRIEVAL, MultiTaskRanker
from recsys.ranking.evaluate import clicks
from recsys.retrieval.data import Split, load
from recsys.retrieval.inputs import Inputs
from recsys.retrieval.train import build as build_towers
from recsys.retrieval.train import examples, save


def train(
    recipe: MultiRecipe,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains one model for retrieval and rating and saves it.

    Every training rating of any value is a positive of the retrieval. The
    folder then holds `model.keras`, `user_features.json`,
    `item_features.json`, `recipe.json`, `history.json` and, written last,
    `metrics.json`. The same call after a crash goes on from the last full
    epoch.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `protocol`,
        `seed`, `parameters`, `epochs`, `rows`, and `test`, the metrics of
        `recsys.multi.evaluate.measure_run`.

    Raises:
        KerasMultiError: if the folder cannot be written or the loss is not
            finite.
        DataError: if the data cannot be fetched or used.
    """
    folder = prepare_folder(output_dir)
    split = load(recipe.data, recipe.protocol)
    run, history = fit(recipe, split, folder, progress)
    result = {
        "backend": backend.name(),
        "model": "multi-task",
        "data": recipe.data,
        "protocol": recipe.protocol,
        "seed": recipe.seed,
        "parameters": run.model.count_params(),
        "epochs": history.epochs,
        "rows": {name: len(table) for name, table in split._asdict().items()},
        "test": measure_run(run, split),
    }
    save(folder, run, history, result)
    training.remove_checkpoint(folder)
    return result


def train_seeds(
    recipe: MultiRecipe,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a recipe with several seeds: see `training.repeat`."""
    return training.repeat(
        train, recipe, count, output_dir, progress, ("protocol",)
    )


def validate(recipe: MultiRecipe, progress: bool = False) -> dict[str, float]:
    """Measures a recipe on validation rows, to choose settings by.

    It trains on the other rows of the training part; no test row plays a
    part, and nothing is saved.

    Args:
        recipe: what to train.
        progress: whether to show a progress bar on stderr.

    Returns:
        The metrics of `recsys.multi.evaluate.measure_run`.
    """
    split = load(recipe.data, recipe.protocol, validation=True)
    run, _ = fit(recipe, split, None, progress)
    return measure_run(run, split)


def fit(
    recipe: MultiRecipe,
    split: Split,
    checkpoint_dir: Path | None,
    progress: bool,
) -> tuple[MultiRun, training.History]:
    """Trains the model of a recipe on the training rows of a split."""
    inputs = Inputs.fit(recipe, split)
    x, items = examples(recipe, inputs, split)
    data = x, targets(split.train, items)
    recipe = settled(
        recipe,
        lambda known: build(known, inputs, split.train),
        lambda _: data,
    )
    model = build(recipe, inputs, split.train)
    history = training.fit(
        model,
        data,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        checkpoint_dir=checkpoint_dir,
        progress=progress,
        description=f"multi-task, seed {recipe.seed}",
        settings=dataclasses.asdict(recipe),
    )
    return MultiRun(recipe, inputs, model), history


def build(
    recipe: MultiRecipe, inputs: Inputs, train_table: Table
) -> MultiTaskRanker:
    """Makes the compiled model of a recipe, seeded.

    Args:
        recipe: the recipe.
        inputs: fitted.
        train_table: the training rows. Their mean targets are where the
            outputs start, and their number sets the length of the schedule.

    Returns:
        The model, with the towers and the optimizer of a retrieval model.
    """
    retrieval = build_towers(recipe, inputs, len(train_table))
    weights = None
    if recipe.weighting == "fixed":
        weights = dict.fromkeys(recipe.tasks, recipe.task_weight)
        weights[RETRIEVAL] = recipe.retrieval_weight
    starts = {
        "rating": float(train_table["rating"].mean()),
        "click": float(special.logit(clicks(train_table).mean())),
    }
    model = MultiTaskRanker(
        retrieval.user_tower,
        retrieval.item_tower,
        tasks={name: TASKS[name] for name in recipe.tasks},
        num_experts=recipe.num_experts,
        expert_units=recipe.expert_units,
        head_units=recipe.head_units,
        dropout=recipe.dropout,
        task_weights=weights,
        output_biases={name: starts[name] for name in recipe.tasks},
        temperature=recipe.temperature,
        num_hard_negatives=recipe.num_hard_negatives,
        dtype=recipe.precision,
    )
    model.compile(retrieval.optimizer)
    return model


def targets(table: Table, item_rows: np.ndarray) -> dict[str, np.ndarray]:
    """What the losses compare the outputs with, each of shape `(rows,)`."""
    return {
        "item_id": item_rows,
        "rating": table["rating"].astype(np.float32),
        "click": clicks(table),
    }
