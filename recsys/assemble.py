"""Puts a two-stage recommender together from trained models."""

import dataclasses
import os
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_multi.data import Table
from keras_multi.errors import UsageError
from recsys.evaluate import load_run as ranking_run
from recsys.features import Features
from recsys.indexes.brute_force import BruteForceIndex
from recsys.items import Items, Schema
from recsys.profiles import Profiles
from recsys.retrieval.data import load
from recsys.retrieval.evaluate import load_run as retrieval_run
from recsys.retrieval.inputs import Inputs
from recsys.two_stage import AnyIndex, TwoStageRecommender

BATCH_SIZE = 4096
# What filters and boosts can look at.
ITEM_COLUMNS = ("release_year", "genres")


def items_of(
    table: Table, columns: Sequence[str], schema: Schema | None = None
) -> Items:
    """Takes the items from a table of ratings.

    Args:
        table: one row a rating.
        columns: what to keep of an item; the first row of an item tells.
        schema: names of the columns.

    Returns:
        The catalogue, its items in rising order of their ids.

    Raises:
        UsageError: if a column is missing.
    """
    schema = schema or Schema()
    _, first = np.unique(table[schema.item], return_index=True)
    names = dict.fromkeys((schema.item, schema.title, schema.tags, *columns))
    kept = {name: table[name][first] for name in names}
    return Items(Table(table.name, kept, schema.item), schema)


def from_runs(
    retrieval: str | os.PathLike[str],
    ranking: str | os.PathLike[str],
    candidates: int = 100,
    index: AnyIndex | None = None,
) -> TwoStageRecommender:
    """Puts two finished runs together; `save` the result.

    What the recommender knows of the users are the training rows of the
    retrieval run.

    Args:
        retrieval: folder of `recsys.retrieval.train.train`.
        ranking: folder of `recsys.train.train`.
        candidates: number of items that the ranker orders.
        index: an empty index; the exact one by default.

    Returns:
        The recommender.

    Raises:
        UsageError: if the runs are of different data sets.
        DataError: if a folder holds no finished run, or the data cannot be
            fetched.
    """
    first, second = retrieval_run(retrieval), ranking_run(ranking)
    if first.recipe.data != second.recipe.data:
        raise UsageError(
            "both runs must be of the same data set. Received: "
            f"{first.recipe.data} and {second.recipe.data}"
        )
    split = load(first.recipe.data, first.recipe.protocol)
    columns = (*ITEM_COLUMNS, *(f.column for f in first.inputs.item))
    return assemble(
        first.model,
        first.inputs,
        second.model,
        second.features,
        items_of(split.items, columns),
        split.train,
        candidates,
        index,
    )


def assemble(
    retrieval: keras.Model,
    inputs: Inputs,
    ranker: keras.Model,
    ranker_features: Features,
    catalogue: Items,
    ratings: Table,
    candidates: int = 100,
    index: AnyIndex | None = None,
) -> TwoStageRecommender:
    """Puts trained models together to one recommender.

    Args:
        retrieval: a model with a `user_tower` and an `item_tower`.
        inputs: what turns tables into its inputs.
        ranker: the ranking model.
        ranker_features: what turns columns of users and of the catalogue
            into its inputs.
        catalogue: the items, in the order of the corpus of `inputs`.
        ratings: one row a rating, its target the rating; only rows that the
            models may know.
        candidates: number of items that the ranker orders.
        index: an empty index; the exact one by default.

    Returns:
        The recommender.

    Raises:
        UsageError: if a column is missing, or `candidates` is out of range.
        DataError: if a column is of another kind than in training.
    """
    inputs = dataclasses.replace(inputs, items=catalogue.table)
    theirs = [
        feature.column
        for feature in (*ranker_features, *inputs.user)
        if feature.column not in catalogue.table.columns
    ]
    vectors = item_vectors(retrieval, inputs)
    index = BruteForceIndex() if index is None else index
    return TwoStageRecommender(
        retrieval,
        inputs,
        index.index(vectors),
        vectors,
        ranker,
        ranker_features,
        catalogue,
        Profiles.of(ratings, theirs, catalogue),
        min(candidates, len(catalogue)),
    )


def item_vectors(retrieval: keras.Model, inputs: Inputs) -> np.ndarray:
    """Computes the vectors of the corpus: float32, shape `(items, D)`."""
    corpus = inputs.corpus()
    vectors = []
    for start in range(0, len(inputs.items), BATCH_SIZE):
        end = start + BATCH_SIZE
        part = keras.tree.map_structure(
            lambda x, start=start, end=end: ops.convert_to_tensor(x[start:end]),
            corpus,
        )
        output = retrieval.item_tower(part, training=False)
        vectors.append(ops.convert_to_numpy(ops.cast(output, "float32")))
    return np.concatenate(vectors)
