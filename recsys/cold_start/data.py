"""What is held out, and what the towers see of users and items."""

import functools
from typing import Any, NamedTuple

import numpy as np

from keras_multi import data
from keras_multi.data import Table, group_split
from recsys.bags import MultiHot, Text
from recsys.cold_start.recipe import ColdStartRecipe
from recsys.columns import Buckets, Numeric, Vocabulary
from recsys.features import Feature, Features
from recsys.text_encoder import embed


class Split(NamedTuple):
    """The rows of a cold-start run.

    Attributes:
        train: rows without the items or users that are held out.
        test: the rows of those.
    """

    train: Table
    test: Table


def load(recipe: ColdStartRecipe, validation: bool = False) -> Split:
    """Loads the data and holds out the items or users that the seed draws.

    Args:
        recipe: the recipe.
        validation: whether to hold out from the training part of the run
            once more and leave its test rows alone: for choosing settings.

    Raises:
        DataError: if the data cannot be fetched.
    """
    table = data.load(recipe.data)
    # The first digits of a zip code are the region of the United States.
    prefix = table["zip_code"].astype("U2")
    table = Table(
        table.name, {**table.columns, "zip_prefix": prefix}, table.target
    )
    rounds = 2 if validation else 1
    for _ in range(rounds):
        table, test = group_split(
            table, recipe.column, recipe.share, recipe.seed
        )
    return Split(table, test)


def user_features(recipe: ColdStartRecipe) -> Features:
    """Makes the features of users, not fitted yet."""
    features: list[Feature] = []
    if recipe.inputs == "ids" or recipe.model == "cold-items":
        features.append(Vocabulary("user_id"))
    if recipe.inputs == "features":
        features += [
            Buckets("age", count=8),
            Numeric("age"),
            Vocabulary("gender"),
            Vocabulary("occupation"),
            Vocabulary("zip_prefix"),
        ]
    return Features(features)


def item_features(recipe: ColdStartRecipe) -> Features:
    """Makes the features of items, not fitted yet."""
    features: list[Feature] = []
    if recipe.inputs == "ids" or recipe.model == "cold-users":
        features.append(Vocabulary("item_id"))
    if recipe.inputs == "features":
        features += [
            Buckets("release_year", count=12),
            Numeric("release_year"),
            MultiHot("genres"),
        ]
        if recipe.titles == "words":
            features.append(Text("movie_title", min_count=100))
    return Features(features)


def item_inputs(
    recipe: ColdStartRecipe, features: Features, table: Table
) -> dict[str, Any]:
    """Turns rows into the inputs of the item tower.

    The sentence embeddings, if wanted, follow the other numbers, in units in
    which their mean square is 1.
    """
    inputs = features.transform(table)
    if recipe.sentences:
        titles, vectors = _titles(recipe.data)
        place = np.searchsorted(titles, table["movie_title"])
        inputs["dense"] = np.concatenate(
            [inputs["dense"], vectors[place]], axis=1
        )
    return inputs


def item_num_dense(recipe: ColdStartRecipe, features: Features) -> int:
    """Gives the number of numbers in a row of `item_inputs`."""
    width = _titles(recipe.data)[1].shape[1] if recipe.sentences else 0
    return features.num_dense + width


@functools.cache
def _titles(name: str) -> tuple[np.ndarray, np.ndarray]:
    """All titles, sorted, and their sentence embeddings."""
    titles = np.unique(data.load(name)["movie_title"])
    vectors = embed(titles.tolist())
    return titles, vectors * np.float32(np.sqrt(vectors.shape[1]))


def first_rows(table: Table, column: str) -> Table:
    """Takes the first row of each value of a column, in ascending order."""
    return table.take(np.unique(table[column], return_index=True)[1])
