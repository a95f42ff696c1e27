"""What factor networks predict of ratings they have not seen."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from keras_multi.data import Table
from keras_multi.files import read_model, write_model
from recsys.rating import train as rating
from recsys.rating.inputs import RatingInputs
from recsys.rating.recipe import RatingRecipe
from recsys.rating.train import RatingRun

NAME = "predicted"


class Networks:
    """Factor networks, each trained on all parts of known ratings but one.

    What a network predicts of the part it has not seen is evidence for a
    ranker of the same kind as what all of them predict of other ratings
    (Wolpert 1992, "Stacked generalization", section II).

    Args:
        runs: `count` networks without part 0, then those without part 1, and
            so on.
        count: number of networks of each part.

    Example:
        `Networks.fit(known, parts, count=1, seed=0).add(table)` has one more
        column, `predicted`.
    """

    def __init__(self, runs: Sequence[RatingRun], count: int) -> None:
        self.runs, self.count = tuple(runs), count

    @classmethod
    def fit(
        cls,
        known: Table,
        parts: np.ndarray,
        count: int,
        seed: int,
        progress: bool = False,
    ) -> Self:
        """Trains the networks, by the defaults of `RatingRecipe`.

        Args:
            known: known ratings, each pair of user and item once.
            parts: number of the part of each rating, from 0.
            count: networks of each part; more of them vary less.
            seed: seed of the first; each has one of its own.
            progress: whether to show progress bars on stderr.
        """
        runs = [
            rating.fit(recipe, known.take(parts != part), None, progress)[0]
            for part, recipe in _recipes(parts, count, seed)
        ]
        return cls(runs, count)

    def add(self, table: Table) -> Table:
        """Adds what all networks predict, on average, to unknown ratings."""
        mean = np.mean([run.predict(table) for run in self.runs], axis=0)
        return _with(table, mean)

    def add_own(self, known: Table, parts: np.ndarray) -> Table:
        """Adds to known ratings what the networks without them predict.

        Args:
            known: the ratings that `fit` was given.
            parts: the part of each.
        """
        mean = np.empty(len(known))
        for place, part in enumerate(np.unique(parts)):
            inside = parts == part
            runs = self.runs[place * self.count :][: self.count]
            rows = known.take(inside)
            mean[inside] = np.mean([run.predict(rows) for run in runs], axis=0)
        return _with(known, mean)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `network-0.keras` and so on.

        Raises:
            KerasMultiError: if a file cannot be written.
        """
        for i, run in enumerate(self.runs):
            write_model(_path(folder, i), run.model)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        known: Table,
        parts: np.ndarray,
        count: int,
        seed: int,
    ) -> Self:
        """Reads what `save` has written; the other arguments as for `fit`.

        Raises:
            DataError: if a file is missing or damaged.
        """
        return cls(
            [
                RatingRun(
                    recipe,
                    RatingInputs(
                        known.take(parts != part), recipe.side, recipe.time
                    ),
                    read_model(_path(folder, i)),
                )
                for i, (part, recipe) in enumerate(_recipes(parts, count, seed))
            ],
            count,
        )


def _recipes(
    parts: np.ndarray, count: int, seed: int
) -> list[tuple[int, RatingRecipe]]:
    """The part that each network leaves out, and how it is trained."""
    places = [int(part) for part in np.unique(parts) for _ in range(count)]
    return [
        (part, RatingRecipe.of(seed=seed + i)) for i, part in enumerate(places)
    ]


def _with(table: Table, predicted: np.ndarray) -> Table:
    return Table(table.name, table.columns | {NAME: predicted}, table.target)


def _path(folder: str | os.PathLike[str], number: int) -> Path:
    return Path(folder) / f"network-{number}.keras"
