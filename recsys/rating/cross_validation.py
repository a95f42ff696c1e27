"""Cross validation: each model on the same folds, settings chosen inside."""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi import backend, data, training
from keras_multi.data import Table, random_split
from keras_multi.errors import KerasMultiError, UsageError
from keras_multi.files import METRICS, prepare_folder, read_json, write_json
from recsys.data import SPLIT_SEED, VALIDATION_SHARE, task
from recsys.evaluate import metrics, predict
from recsys.rating import train as factors
from recsys.rating.recipe import RatingRecipe
from recsys.recipe import Recipe
from recsys.train import build

AnyRecipe = RatingRecipe | Recipe
Changes = Mapping[str, Any]

# What is tried in each fold, on validation rows taken from its training rows.
CHOICES: dict[str, tuple[Changes, ...]] = {
    "dcn": tuple({"epochs": n} for n in (7, 10, 14, 20)),
    "dnn": tuple({"epochs": n} for n in (7, 10, 14, 20)),
    "factors": tuple(
        {"epochs": n, "factors_l2": l2}
        for n in (12, 24)
        for l2 in (0.04, 0.08, 0.16)
    ),
    "svd-pp": tuple(
        {"epochs": n, "factors_l2": l2}
        for n in (12, 24)
        for l2 in (0.04, 0.08, 0.16)
    ),
    "factor-network": tuple(
        {"epochs": n, "factors_l2": l2}
        for n in (3, 4, 6)
        for l2 in (0.02, 0.04)
    ),
}


def cross_validate(
    recipe: AnyRecipe,
    output_dir: str | os.PathLike[str],
    folds: int = 5,
    seeds: int = 5,
    only_folds: Sequence[int] | None = None,
    choices: Sequence[Changes] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measures a model on MovieLens 100K in cross validation.

    Each row is a test row of one fold. In each fold the rows of the others
    are the training rows. A tenth of them, kept apart, decides between the
    `choices`; with that choice the model is trained on all training rows
    with each seed, and measured on the test rows: once, for the result.

    The output folder holds a file for each choice and each run. After a crash
    the same call goes on with those that are missing.

    Args:
        recipe: a `RatingRecipe`, or a `Recipe` of this data set; its seed is
            the first one.
        output_dir: folder to write to, made if it is not there.
        folds: number of folds, at least 2.
        seeds: number of seeds, at least 1.
        only_folds: folds to run, from 0; all by default.
        choices: changes of the recipe to choose from; by default those of
            `CHOICES`.
        progress: whether to show progress bars on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `folds`,
        `seeds`, `test` (means over folds of means over seeds), `fold_std`
        (sample deviation of the folds' means), `seed_std` (of the means of
        each seed over the folds; both absent for one fold or seed), `chosen`
        (by fold) and `runs`, each with `fold`, `seed`, `seconds` and `test`.

    Raises:
        UsageError: if a number is out of range, or the recipe is for other
            data.
        KerasMultiError: if the folder holds results of another recipe or
            backend, or cannot be written.
        DataError: if the data cannot be fetched or used.
    """
    if folds < 2 or seeds < 1:
        raise UsageError(
            "there must be at least 2 folds and 1 seed. "
            f"Received: folds={folds}, seeds={seeds}"
        )
    if isinstance(recipe, Recipe) and recipe.data != factors.DATA:
        raise UsageError(
            f"cross validation is on {factors.DATA}. "
            f"Received: data={recipe.data!r}"
        )
    folder = prepare_folder(output_dir)
    choices = CHOICES[recipe.model] if choices is None else choices
    table = data.load(factors.DATA)
    numbers = fold_numbers(len(table), folds)
    chosen: dict[str, Changes] = {}
    runs: list[dict[str, Any]] = []
    for fold in range(folds) if only_folds is None else only_folds:
        train, test = table.take(numbers != fold), table.take(numbers == fold)
        place = prepare_folder(folder / f"fold-{fold}")
        changes = choose(recipe, train, choices, place, progress)
        chosen[str(fold)] = changes
        best = dataclasses.replace(recipe, **changes)
        for seed in range(recipe.seed, recipe.seed + seeds):
            one = dataclasses.replace(best, seed=seed)
            result = _measure(
                one, train, test, place / f"seed-{seed}.json", progress
            )
            runs.append({"fold": fold, "seed": seed, **result})
    result = {
        "backend": backend.name(),
        "model": recipe.model,
        "data": factors.DATA,
        "folds": folds,
        "seeds": [recipe.seed + i for i in range(seeds)],
        **summarize(runs),
        "chosen": chosen,
        "runs": runs,
    }
    write_json(folder / METRICS, result)
    return result


def fold_numbers(rows: int, folds: int) -> np.ndarray:
    """Gives the fold of each row: equal shares at random, always the same."""
    return np.random.default_rng(SPLIT_SEED).permutation(rows) % folds


def choose(
    recipe: AnyRecipe,
    train: Table,
    choices: Sequence[Changes],
    folder: Path,
    progress: bool = True,
) -> Changes:
    """Chooses settings on a tenth of the training rows.

    Args:
        recipe: what the changes apply to.
        train: the training rows of a fold.
        choices: changes to try, each with the seed of the recipe.
        folder: where the results are kept, `choice-0.json` and so on.
        progress: whether to show progress bars.

    Returns:
        The changes with the lowest RMSE, the first one of equals.
    """
    if len(choices) == 1:
        return choices[0]
    shares = (1 - VALIDATION_SHARE, VALIDATION_SHARE)
    learned, held_out = random_split(train, shares, seed=SPLIT_SEED)
    errors = [
        _measure(
            dataclasses.replace(recipe, **changes),
            learned,
            held_out,
            folder / f"choice-{i}.json",
            progress,
        )["test"]["rmse"]
        for i, changes in enumerate(choices)
    ]
    return choices[int(np.argmin(errors))]


def fit(
    recipe: AnyRecipe, table: Table, progress: bool = True
) -> Callable[[Table], np.ndarray]:
    """Trains a model on the rows of a table, and on nothing else.

    Args:
        recipe: what to train.
        table: the training rows.
        progress: whether to show a progress bar.

    Returns:
        What predicts the ratings of a table, clipped to the range of the
        training ratings. It does not read the ratings of that table.
    """
    if isinstance(recipe, RatingRecipe):
        return factors.fit(recipe, table, None, progress)[0].predict
    features = task(recipe.data).features().fit(table)
    model = build(recipe, features, table)
    ratings = table[table.target]
    training.fit(
        model,
        (features.transform(table), ratings[:, None]),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        progress=progress,
        description=f"{recipe.model}, seed {recipe.seed}",
    )
    return lambda rows: np.clip(
        predict(model, features.transform(rows)), ratings.min(), ratings.max()
    )


def summarize(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Averages the test metrics of all runs.

    Args:
        runs: each with `fold`, `seed` and `test`; every fold with every seed.

    Returns:
        `test`, and `fold_std` and `seed_std` if there is more than one fold
        or seed.
    """
    summary: dict[str, dict[str, float]] = {"test": {}}
    for name in runs[0]["test"]:
        values = [run["test"][name] for run in runs]
        summary["test"][name] = float(np.mean(values))
        for part in ("fold", "seed"):
            keys = [run[part] for run in runs]
            means = [
                np.mean(
                    [v for v, k in zip(values, keys, strict=True) if k == key]
                )
                for key in sorted(set(keys))
            ]
            if len(means) > 1:
                deviation = float(np.std(means, ddof=1))
                summary.setdefault(f"{part}_std", {})[name] = deviation
    return summary


def _measure(
    recipe: AnyRecipe,
    train: Table,
    test: Table,
    path: Path,
    progress: bool,
) -> dict[str, Any]:
    """Trains and measures once; a result that is there already is kept."""
    key = {
        "backend": backend.name(),
        "rows": [len(train), len(test)],
        "recipe": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(recipe).items()
        },
    }
    if path.exists():
        kept = read_json(path)
        if {name: kept.get(name) for name in key} != key:
            raise KerasMultiError(
                f"{path} holds the result of another recipe or backend; "
                "choose another folder"
            )
        return {"seconds": kept["seconds"], "test": kept["test"]}
    start = time.perf_counter()
    predicted = fit(recipe, train, progress)(test)
    result = {
        "seconds": round(time.perf_counter() - start, 1),
        "test": metrics(test[test.target], predicted, binary=False),
    }
    keras.utils.clear_session()
    write_json(path, {**key, **result})
    return result
