"""Training: from a recipe to a folder with a model and its figures."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy import special

from keras_multi import backend, optimizers, training
from keras_multi.data import Table
from keras_multi.errors import DataError
from keras_multi.files import prepare_folder, write_json, write_model
from keras_multi.precision import settled
from recsys import data
from recsys.dcn import DCN
from recsys.evaluate import (
    CROSSES,
    FEATURES,
    HISTORY,
    METRICS,
    MODEL,
    RECIPE,
    metrics,
    predict,
    transform,
)
from recsys.features import Features
from recsys.plot import plot_crosses
from recsys.recipe import Recipe


def train(
    recipe: Recipe,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a model and saves it with all that belongs to it.

    The folder then holds `model.keras`, `features.json`, `recipe.json`,
    `history.json`, `crosses.png` (if there are cross layers) and, written
    last, `metrics.json`. While the training runs it holds a checkpoint: the
    same call after a crash goes on from the last full epoch.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `seed`,
        `parameters`, `epochs`, `stopped_early`, `rows`, `unseen`, `test`.

    Raises:
        KerasMultiError: if the folder cannot be written, the loss is not
            finite, or a checkpoint in the folder belongs to another run.
        DataError: if the data cannot be fetched or used.
    """
    folder = prepare_folder(output_dir)
    task = data.task(recipe.data)
    split = data.load(recipe.data, validation=recipe.patience is not None)
    features = task.features().fit(split.train)
    examples = _examples(features, split.train)
    recipe = settled(
        recipe,
        lambda known: build(known, features, split.train),
        lambda _: examples,
    )
    model = build(recipe, features, split.train)
    validation = None
    if split.validation is not None:
        validation = _examples(features, split.validation)
    history = training.fit(
        model,
        examples,
        validation,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        patience=recipe.patience,
        monitor="val_log_loss" if task.binary else "val_rmse",
        checkpoint_dir=folder,
        progress=progress,
        description=f"{recipe.model}, seed {recipe.seed}",
    )
    inputs = transform(features, split.test)
    target = split.test[split.test.target]
    result = {
        "backend": backend.name(),
        "model": recipe.model,
        "data": recipe.data,
        "seed": recipe.seed,
        "parameters": model.count_params(),
        "epochs": history.epochs,
        "stopped_early": history.stopped_early,
        "rows": {
            name: len(table)
            for name, table in split._asdict().items()
            if table is not None
        },
        "unseen": features.unseen(inputs),
        "test": metrics(target, predict(model, inputs), task.binary),
    }
    _save(folder, recipe, features, model, history, result)
    training.remove_checkpoint(folder)
    return result


def build(recipe: Recipe, features: Features, train_table: Table) -> DCN:
    """Makes the compiled model of a recipe, seeded.

    Args:
        recipe: the recipe.
        features: fitted features.
        train_table: the training rows. Their mean target is where the output
            starts, and their number sets the length of the schedule.

    Returns:
        The model, compiled with Adam and with mean squared error or binary
        cross entropy.

    Raises:
        DataError: if the target holds NaN or infinity, or a binary one has
            values other than 0 and 1, or one of them only.
    """
    backend.seed(recipe.seed)
    binary = data.task(recipe.data).binary
    mean = _mean_target(train_table, binary)
    model = DCN(
        features.vocabulary_sizes,
        features.num_dense,
        embedding_dim=recipe.embedding_dim,
        num_cross_layers=recipe.cross_layers,
        projection_dim=recipe.projection_dim,
        num_experts=recipe.num_experts,
        deep_units=recipe.deep_units,
        structure=recipe.structure,
        dropout=recipe.dropout,
        embeddings_regularizer=(
            keras.regularizers.L2(recipe.embeddings_l2)
            if recipe.embeddings_l2
            else None
        ),
        output_bias=float(special.logit(mean)) if binary else mean,
        dtype=recipe.precision,
    )
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        steps = -(-len(train_table) // recipe.batch_size) * recipe.epochs
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = optimizers.Adam(rate)
    if binary:
        model.compile(
            optimizer,
            keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=[
                keras.metrics.BinaryCrossentropy("log_loss", from_logits=True)
            ],
        )
    else:
        model.compile(
            optimizer,
            "mean_squared_error",
            metrics=[keras.metrics.RootMeanSquaredError("rmse")],
        )
    return model


def _mean_target(table: Table, binary: bool) -> float:
    target = table[table.target].astype(np.float64)
    if not np.isfinite(target).all():
        raise DataError(
            f"the target {table.target!r} holds NaN or infinity in "
            f"{(~np.isfinite(target)).sum():,} of {len(target):,} rows"
        )
    if binary and set(np.unique(target)) != {0.0, 1.0}:
        raise DataError(
            f"the target {table.target!r} must hold 0 and 1, and both. "
            f"Received: {np.unique(target)[:5].tolist()}"
        )
    return float(target.mean())


def _examples(features: Features, table: Table) -> tuple[Any, np.ndarray]:
    target = table[table.target].astype(np.float32)
    return features.transform(table), target[:, None]


def _save(
    folder: Path,
    recipe: Recipe,
    features: Features,
    model: DCN,
    history: training.History,
    result: dict[str, Any],
) -> None:
    """Writes the files of a run; `metrics.json` says that it is complete."""
    (folder / METRICS).unlink(missing_ok=True)
    write_model(folder / MODEL, model)
    features.save(folder / FEATURES)
    write_json(folder / RECIPE, dataclasses.asdict(recipe))
    write_json(folder / HISTORY, dataclasses.asdict(history))
    if model.cross is not None:
        plot_crosses(model, features, folder / CROSSES)
    else:
        (folder / CROSSES).unlink(missing_ok=True)
    write_json(folder / METRICS, result)
