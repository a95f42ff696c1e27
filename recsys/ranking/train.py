"""Training on lists: from a recipe to a folder with a model and figures."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy import special

from keras_multi import backend, losses, optimizers, training
from keras_multi.data import Table
from keras_multi.files import METRICS, prepare_folder, write_json, write_model
from keras_multi.precision import settled
from recsys.columns import Buckets, Numeric, Vocabulary
from recsys.dcn import DCN
from recsys.evaluate import FEATURES, HISTORY, MODEL, RECIPE
from recsys.features import Features
from recsys.ranking.calibration import calibration, plot_calibration
from recsys.ranking.evaluate import (
    ListRun,
    clicks,
    item_means,
    judge,
    judged_lists,
    ndcg,
    split,
)
from recsys.ranking.evidence import (
    NAMES,
    parts_of_users,
    with_own_evidence,
)
from recsys.ranking.list_ranker import ListRanker
from recsys.ranking.lists import sample_lists
from recsys.ranking.recipe import ListRecipe
from recsys.ranking.stacking import NAME as PREDICTED
from recsys.ranking.stacking import Networks

CALIBRATION = "calibration.png"
LOSSES = {
    "mse": keras.losses.MeanSquaredError,
    "click": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    "hinge": losses.PairwiseHingeLoss,
    "logistic": losses.PairwiseLogisticLoss,
    "list_mle": losses.ListMLELoss,
    "softmax": losses.SoftmaxRankingLoss,
}


def train(
    recipe: ListRecipe,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a DCN on lists of ratings and saves it with its figures.

    The ratings are split at random, 80 to 20, and lists are drawn from each
    part by itself: no rating of a test list is in a training list. The
    folder then holds `model.keras` (the DCN), `network-0.keras` and so on,
    `features.json`, `recipe.json`, `history.json`, `calibration.png` (of a
    click model) and, written last, `metrics.json`. The same call after a
    crash goes on from the last full epoch; the networks are trained anew.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `loss`, `data`,
        `seed`, `parameters`, `epochs`, `rows`, `lists`,
        `ndcg_of_item_means` (that baseline's) and `test`, the metrics of
        `recsys.ranking.evaluate.judge`; `calibration_error` of a click model.

    Raises:
        KerasMultiError: if the folder cannot be written or the loss is not
            finite.
        DataError: if the data cannot be fetched or used.
    """
    folder = prepare_folder(output_dir)
    known, test = split(recipe.data)
    run, history = fit(recipe, known, folder, progress)
    recipe = run.recipe
    scores = run.score(test)
    result = {
        "backend": backend.name(),
        "model": "list-ranker",
        "loss": recipe.loss,
        "data": recipe.data,
        "seed": recipe.seed,
        "parameters": run.model.count_params(),
        "epochs": history.epochs,
        "rows": {"train": len(known), "test": len(test)},
        "lists": len(judged_lists(test)),
        "ndcg_of_item_means": ndcg(test, item_means(known, test)),
        "test": judge(recipe.loss, test, scores),
    }
    (folder / METRICS).unlink(missing_ok=True)
    write_model(folder / MODEL, run.model)
    if run.networks:
        run.networks.save(folder)
    run.features.save(folder / FEATURES)
    write_json(folder / RECIPE, dataclasses.asdict(recipe))
    write_json(folder / HISTORY, dataclasses.asdict(history))
    if recipe.loss == "click":
        curve = calibration(clicks(test), special.expit(scores))
        result["calibration_error"] = curve.error
        plot_calibration(curve, folder / CALIBRATION)
    write_json(folder / METRICS, result)
    training.remove_checkpoint(folder)
    return result


def train_seeds(
    recipe: ListRecipe,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a recipe with several seeds: see `training.repeat`."""
    return training.repeat(
        train, recipe, count, output_dir, progress, ("loss",)
    )


def validate(recipe: ListRecipe, progress: bool = False) -> dict[str, float]:
    """Measures a recipe on validation rows, to choose settings by.

    It trains on the other rows of the training part; no test row plays a
    part, and nothing is saved.

    Args:
        recipe: what to train.
        progress: whether to show a progress bar on stderr.

    Returns:
        The metrics of `recsys.ranking.evaluate.judge`.
    """
    known, held_out = split(recipe.data, validation=True)
    run, _ = fit(recipe, known, None, progress)
    return judge(recipe.loss, held_out, run.score(held_out))


def fit(
    recipe: ListRecipe,
    known: Table,
    checkpoint_dir: Path | None,
    progress: bool,
) -> tuple[ListRun, training.History]:
    """Trains the model of a recipe on lists drawn from the training rows."""
    table, groups = known, known["user_id"]
    names: tuple[str, ...] = ()
    networks: Networks | None = None
    if recipe.parts:
        parts = parts_of_users(groups, recipe.parts, recipe.seed)
        table, names = with_own_evidence(known, parts), NAMES
        if recipe.networks:
            networks = Networks.fit(
                known, parts, recipe.networks, recipe.seed, progress
            )
            table = networks.add_own(table, parts)
            names = (*names, PREDICTED)
        groups = groups * recipe.parts + parts
    features = list_features(names).fit(table)
    lists = sample_lists(
        groups,
        recipe.list_length,
        -(-recipe.lists_per_user // max(recipe.parts, 1)),
        recipe.seed,
    )
    inputs = features.transform(table)
    data = (
        {name: part[lists] for name, part in inputs.items()},
        target(recipe, known)[lists],
    )
    recipe = settled(
        recipe,
        lambda r: build(r, features, known, len(lists)),
        lambda _: data,
    )
    model = build(recipe, features, known, len(lists))
    history = training.fit(
        model,
        data,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        checkpoint_dir=checkpoint_dir,
        progress=progress,
        description=f"{recipe.loss}, seed {recipe.seed}",
        settings=dataclasses.asdict(recipe),
    )
    return ListRun(recipe, features, model.scorer, known, networks), history


def list_features(evidence: Sequence[str]) -> Features:
    """The columns of a rating that a ranker sees, not fitted yet.

    Args:
        evidence: names of the columns of evidence.
    """
    names = ("user_id", "item_id", "gender", "zip_code", "occupation")
    return Features(
        [
            *map(Vocabulary, names),
            Buckets("age", boundaries=(18, 25, 35, 45, 50, 56)),
            Vocabulary("genres"),
            Buckets("release_year", count=10),
            *map(Numeric, evidence),
        ]
    )


def build(
    recipe: ListRecipe, features: Features, train_table: Table, num_lists: int
) -> ListRanker:
    """Makes the compiled model of a recipe, seeded.

    Args:
        recipe: the recipe.
        features: fitted features.
        train_table: the training rows; their mean target is where the output
            of a model of single ratings starts.
        num_lists: number of training lists, which sets the length of the
            schedule.

    Returns:
        The model, compiled with Adam and the loss of the recipe.
    """
    backend.seed(recipe.seed)
    mean = float(target(recipe, train_table).mean())
    bias = {"mse": mean, "click": float(special.logit(mean))}
    scorer = DCN(
        features.vocabulary_sizes,
        features.num_dense,
        embedding_dim=recipe.embedding_dim,
        num_cross_layers=recipe.num_cross_layers,
        deep_units=recipe.deep_units,
        structure="parallel" if recipe.num_cross_layers else "stacked",
        dropout=recipe.dropout,
        embeddings_regularizer=keras.regularizers.L2(recipe.embeddings_l2),
        output_bias=bias.get(recipe.loss, 0.0),
        dtype=recipe.precision,
    )
    model = ListRanker(scorer)
    steps = -(-num_lists // recipe.batch_size) * recipe.epochs
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    model.compile(optimizers.Adam(rate), LOSSES[recipe.loss]())
    return model


def target(recipe: ListRecipe, table: Table) -> np.ndarray:
    """What the loss compares the scores with: float32, shape `(rows,)`."""
    if recipe.loss == "click":
        return clicks(table)
    return table["rating"].astype(np.float32)
