"""The two-stage recommender: candidates from an index, order from a ranker."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_multi import backend
from keras_multi.data import Table
from keras_multi.errors import DataError, UsageError
from keras_multi.files import read_json, write_json
from recsys import artifact
from recsys.features import Features
from recsys.indexes.ann import AnnIndex
from recsys.indexes.brute_force import BruteForceIndex
from recsys.indexes.streaming import StreamingIndex
from recsys.items import Items, Schema
from recsys.pairs import PairEncoder
from recsys.profiles import Profiles
from recsys.reasons import Liked, explain
from recsys.request import Answer, Recommendation, Request
from recsys.retrieval.history import Histories
from recsys.retrieval.inputs import Inputs
from recsys.rules import allowed, within_caps

BLOCK = 32
# How many more candidates are fetched, to make up for those left out.
# Few widths, so that few shapes are compiled.
SPARE = (256, 4096, 65_536)

ABOUT, VECTORS = "recommender.json", "vectors.npz"
USERS, RATINGS, ITEMS = "users.npz", "ratings.npz", "catalogue.npz"
RETRIEVAL, RANKER = "retrieval.keras", "ranker.keras"
USER_FEATURES, ITEM_FEATURES, RANKER_FEATURES = (
    "user_features.json",
    "item_features.json",
    "ranker_features.json",
)

AnyIndex = BruteForceIndex | StreamingIndex | AnnIndex
INDEXES: dict[str, type[AnyIndex]] = {
    kind.__name__: kind for kind in (BruteForceIndex, StreamingIndex, AnnIndex)
}


class TwoStageRecommender:
    """Recommends items to users.

    The user tower of a retrieval model gives a vector of the user, an index
    gives the items whose vectors have the largest product with it, business
    rules strike some out, and a ranker orders the rest (Covington et al.
    2016, "Deep Neural Networks for YouTube Recommendations", section 2).

    All requests of a call go through the models together.

    Args:
        retrieval: a model with a `user_tower`.
        inputs: what turns tables into its inputs; its corpus is the table of
            the catalogue.
        index: an index of the catalogue; its ids are rows of the catalogue.
        vectors: the vectors in the index, float32 of shape `(items, D)`.
        ranker: the ranking model; a larger output is better.
        ranker_features: what turns columns of both sides into its inputs.
        catalogue: the items.
        profiles: the users.
        candidates: number of items that the ranker orders, and the largest
            `k` of a request.

    Raises:
        UsageError: if `candidates` is not in `[1, items]`, or the users lack
            a column that a model needs.
    """

    def __init__(
        self,
        retrieval: keras.Model,
        inputs: Inputs,
        index: AnyIndex,
        vectors: np.ndarray,
        ranker: keras.Model,
        ranker_features: Features,
        catalogue: Items,
        profiles: Profiles,
        candidates: int = 100,
    ) -> None:
        if not 1 <= candidates <= len(catalogue):
            raise UsageError(
                f"candidates must lie between 1 and the {len(catalogue)} "
                f"items. Received: candidates={candidates}"
            )
        self.retrieval, self.inputs = retrieval, inputs
        self.index, self.vectors = index, vectors
        self.ranker, self.ranker_features = ranker, ranker_features
        self.catalogue, self.profiles = catalogue, profiles
        self.candidates = candidates
        self.version = "unsaved"
        self._pairs = PairEncoder(ranker_features, catalogue.table)
        for column in (
            *(feature.column for feature in inputs.user),
            *self._pairs.user_columns,
        ):
            profiles.users[column]  # Raises if it is not there.
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._directions = vectors / np.where(length == 0, 1, length)
        self._popularity = np.bincount(
            profiles.history["row"], minlength=len(catalogue)
        ).astype(np.float32)
        self._tower = backend.inference(
            lambda inputs: retrieval.user_tower(inputs, training=False)
        )
        self._rank = backend.inference(
            lambda inputs: ranker(inputs, training=False)
        )

    def check(self, request: Request) -> str:
        """Checks a request before it is answered.

        Returns:
            What the answer will rest on: `"user"`, `"features"` or
            `"popularity"`.

        Raises:
            UnknownUserError: if the user is unknown and has no features.
            UsageError: if `k` is more than the candidates, or a column or a
                value does not fit.
        """
        if request.k > self.candidates:
            raise UsageError(
                f"k must be at most {self.candidates}, the number of "
                f"candidates. Received: k={request.k}"
            )
        self.profiles.check(request)
        for condition in request.filters:
            self.catalogue.mask(condition)
        for boost in request.boosts:
            self.catalogue.mask(boost.condition)
        for column in request.max_per:
            self.catalogue.table[column]
        return self.profiles.source(request)

    def recommend(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers requests.

        Args:
            requests: any number.

        Returns:
            An answer to each, in order.

        Raises:
            UsageError: as `check`.
        """
        sources = [self.check(request) for request in requests]
        scored: list[Any] = [None] * len(requests)
        modelled = [i for i, s in enumerate(sources) if s != "popularity"]
        for start in range(0, len(modelled), BLOCK):
            block = modelled[start : start + BLOCK]
            results = self._score([requests[i] for i in block])
            for i, result in zip(block, results, strict=True):
                scored[i] = result
        return [
            self._answer(request, source, result)
            for request, source, result in zip(
                requests, sources, scored, strict=True
            )
        ]

    def warm_up(self, batch_size: int = BLOCK) -> None:
        """Compiles all that batches up to this size need."""
        request = Request(self.profiles.users[self.profiles.id_column][0])
        sizes = [1 << i for i in range((batch_size - 1).bit_length() + 1)]
        for size in sizes:
            self._score([request] * size)
            for width in self._widths():
                self.index(np.zeros((size, self.vectors.shape[1])), width)

    def _score(
        self, requests: Sequence[Request]
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Gives rows of items and their scores of both stages, by request."""
        count = len(requests)
        size = 1 << (count - 1).bit_length()
        padded = [*requests, *[requests[-1]] * (size - count)]
        users = self.profiles.table(padded)
        queries = self._tensor_call(self._tower, self.inputs.users(users))
        masks = [self._allowed(request) for request in requests]
        rows, scores = self._retrieve(queries[:count], masks)
        filled = np.zeros((size, self.candidates), np.int64)
        filled[:count] = np.maximum(rows, 0)
        predicted = self._tensor_call(self._rank, self.encode(users, filled))
        predicted = predicted.reshape(size, self.candidates)
        kept = rows >= 0
        return [
            (rows[i][kept[i]], scores[i][kept[i]], predicted[i][kept[i]])
            for i in range(count)
        ]

    def encode(self, users: Table, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Gives the inputs of the ranker; see `recsys.pairs.PairEncoder`."""
        return self._pairs(users, rows)

    def _tensor_call(self, fn: Any, inputs: Any) -> np.ndarray:
        tensors = keras.tree.map_structure(ops.convert_to_tensor, inputs)
        return np.asarray(ops.convert_to_numpy(fn(tensors)), np.float32)

    def _widths(self) -> list[int]:
        total = len(self.catalogue)
        widths = [self.candidates + spare for spare in SPARE]
        return [*(width for width in widths if width < total), total]

    def _retrieve(
        self, queries: np.ndarray, masks: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gives the best allowed rows `(B, candidates)`, -1 where none is."""
        struck_out = max(int((~mask).sum()) for mask in masks)
        needed = min(self.candidates + struck_out, len(self.catalogue))
        width = next(w for w in self._widths() if w >= needed)
        scores, rows = self.index(queries, width)
        best = np.full((len(queries), self.candidates), -1, np.int64)
        products = np.zeros(best.shape, np.float32)
        for i, mask in enumerate(masks):
            kept = (rows[i] >= 0) & mask[rows[i]]
            chosen = np.flatnonzero(kept)[: self.candidates]
            best[i, : len(chosen)] = rows[i, chosen]
            products[i, : len(chosen)] = scores[i, chosen]
        return best, products

    def _allowed(self, request: Request) -> np.ndarray:
        history = self.profiles.rated(request)
        return allowed(request, self.catalogue, history)

    def _answer(self, request: Request, source: str, scored: Any) -> Answer:
        products = predicted = None
        if scored is None:
            rows = np.flatnonzero(self._allowed(request))
            total: np.ndarray = self._popularity[rows]
        else:
            rows, products, predicted = scored
            total = predicted
        boosted = [
            (boost, self.catalogue.mask(boost.condition))
            for boost in request.boosts
        ]
        for boost, mask in boosted:
            total = total + np.float32(boost.add) * mask[rows]
        order = np.argsort(-total, kind="stable")
        order = order[within_caps(request, self.catalogue, rows[order])]
        rated = self.profiles.rated(request)
        liked = Liked(rated, self.catalogue, self._directions)
        reasons = explain(
            request, source, rows[order], liked, self._popularity, boosted
        )
        items = tuple(
            Recommendation(
                self.catalogue.ids[rows[i]].item(),
                str(self.catalogue.titles[rows[i]]),
                float(total[i]),
                None if products is None else float(products[i]),
                None if predicted is None else float(predicted[i]),
                why,
            )
            for i, why in zip(order, reasons, strict=True)
        )
        return Answer(self.version, source, items)

    def save(self, folder: str | os.PathLike[str]) -> str:
        """Makes this the current version of an artifact (`recsys.artifact`).

        Returns:
            The name of the version.

        Raises:
            KerasMultiError: if the folder cannot be written.
        """
        with artifact.new_version(folder) as parts:
            self.retrieval.save(parts / RETRIEVAL)
            self.ranker.save(parts / RANKER)
            self.inputs.user.save(parts / USER_FEATURES)
            self.inputs.item.save(parts / ITEM_FEATURES)
            self.ranker_features.save(parts / RANKER_FEATURES)
            self.index.save(parts)
            artifact.write_table(parts / USERS, self.profiles.users)
            artifact.write_table(parts / RATINGS, self.profiles.history)
            artifact.write_table(parts / ITEMS, self.catalogue.table)
            np.savez(parts / VECTORS, vectors=self.vectors)
            about = {
                "index": type(self.index).__name__,
                "candidates": self.candidates,
                "windows": self.inputs.windows,
                "schema": dataclasses.asdict(self.catalogue.schema),
            }
            write_json(parts / ABOUT, about)
        _, self.version = artifact.current_version(folder)
        return self.version

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Loads the current version of an artifact, on any backend.

        Raises:
            DataError: if there is none, or a part is missing or damaged.
        """
        parts, version = artifact.current_version(folder)
        about = read_json(parts / ABOUT)
        try:
            catalogue = Items(
                artifact.read_table(parts / ITEMS), Schema(**about["schema"])
            )
            profiles = Profiles(
                artifact.read_table(parts / USERS),
                artifact.read_table(parts / RATINGS),
            )
            inputs = Inputs(
                Features.load(parts / USER_FEATURES),
                Features.load(parts / ITEM_FEATURES),
                Histories(
                    *(profiles.history[n] for n in ("user", "time", "row"))
                ),
                tuple(about["windows"]),
                catalogue.table,
            )
            loaded = cls(
                artifact.read_model(parts / RETRIEVAL),
                inputs,
                INDEXES[about["index"]].load(parts),
                artifact.read_arrays(parts / VECTORS)["vectors"],
                artifact.read_model(parts / RANKER),
                Features.load(parts / RANKER_FEATURES),
                catalogue,
                profiles,
                about["candidates"],
            )
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{parts} does not hold a recommender: {error!r}; build the "
                "artifact again"
            ) from error
        loaded.version = version
        return loaded
