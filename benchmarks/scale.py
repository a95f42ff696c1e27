"""How training, search and memory grow with the size of a catalogue.

    KERAS_BACKEND=jax python -m benchmarks.scale --items 1000000

draws a catalogue, trains a two-tower model on it, puts its items into an exact
index, with `--ann` into approximate ones too, and prints what all that took as
one JSON object. With `--vectors FILE` the trained vectors are kept, and the
next run searches them without training.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi import backend
from keras_multi.layers import Embedding, SparseEmbedding
from recsys import AnnIndex, BruteForceIndex, TwoTower
from recsys.catalogue import Catalogue
from recsys.indexes.ann import KINDS

K = 100
# A little above the 0.95 that others are held to, for the queries not tuned on.
RECALL = 0.955
RATE = 0.1
# Gradients of a mean over a batch are small: from Adagrad's usual start of 0.1
# the tables would hardly move.
ACCUMULATOR = 1e-6
TEMPERATURE = 0.1
BATCH = 1024
BLOCK = 8192
WARM_UP = 20
TEST_USERS = 1_000
QUERIES = 30
SEARCHED = (1, 32, 256)


def build(catalogue: Catalogue, dim: int, sparse: bool) -> keras.Model:
    """Makes a compiled two-tower model of a catalogue: its towers are tables.

    Args:
        catalogue: its users and items.
        dim: width of the tables.
        sparse: whether a step trains the rows of the batch alone
            (`SparseEmbedding`), or the whole table, by Adagrad in both cases.
    """
    backend.seed(0)

    def tower(rows: int) -> keras.Model:
        table = (
            SparseEmbedding(
                rows,
                dim,
                learning_rate=RATE,
                initial_accumulator_value=ACCUMULATOR,
            )
            if sparse
            else Embedding(rows, dim)
        )
        return keras.Sequential([keras.Input((), dtype="int32"), table])

    model = TwoTower(
        tower(catalogue.num_users),
        tower(catalogue.num_items),
        temperature=TEMPERATURE,
    )
    one = np.zeros(1, "int32")
    model({"user": one, "item": one})
    model.compile(
        keras.optimizers.Adagrad(RATE, initial_accumulator_value=ACCUMULATOR)
    )
    return model


def train(model: keras.Model, catalogue: Catalogue, steps: int) -> Any:
    """Trains a model; gives the loss of each quarter and the time of a step.

    Args:
        model: what `build` made.
        catalogue: whose interactions it learns.
        steps: batches of 1024 interactions, after 20 that warm up.
    """

    def fit(first: int, count: int) -> float:
        users, items = catalogue.interactions(count * BATCH, part=first)
        history = model.fit(
            {
                "user": users,
                "item": items,
                "sampling_probability": catalogue.chance(items),
            },
            items,
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
        )
        return float(history.history["loss"][0])

    fit(1, WARM_UP)
    quarter = max(steps // 4, 1)
    losses, seconds = [], []
    for part in range(4):
        start = time.perf_counter()
        losses.append(round(fit(2 + part, quarter), 4))
        seconds.append((time.perf_counter() - start) / quarter)
    return {"loss": losses, "ms_per_step": _ms(np.median(seconds))}


def vectors(tower: Callable[[Any], Any], ids: np.ndarray) -> np.ndarray:
    """Vectors of users or items, in blocks of one size."""
    infer = backend.inference(tower)
    padded = np.resize(ids, -(-len(ids) // BLOCK) * BLOCK)
    blocks = [
        keras.ops.convert_to_numpy(
            infer(keras.ops.convert_to_tensor(padded[start : start + BLOCK]))
        )
        for start in range(0, len(padded), BLOCK)
    ]
    return np.concatenate(blocks)[: len(ids)]


def latencies(
    indexes: Mapping[str, Any], queries: np.ndarray
) -> dict[str, dict[int, dict[str, float]]]:
    """Times of a search in milliseconds, the indexes taking turns.

    Args:
        indexes: the indexes, by name.
        queries: `(N, D)`; each search has other ones of them.

    Returns:
        By name and number of queries, the median and the 95th percentile.
    """
    result: dict[str, dict[int, dict[str, float]]] = {n: {} for n in indexes}
    for batch in SEARCHED:
        seconds: dict[str, list[float]] = {name: [] for name in indexes}
        for i in range(-1, QUERIES):
            block = np.roll(queries, -i * batch, axis=0)[:batch]
            for name, index in indexes.items():
                start = time.perf_counter()
                index(block)
                seconds[name].append(time.perf_counter() - start)
        for name, [_, *measured] in seconds.items():
            result[name][batch] = {
                "median": _ms(np.median(measured)),
                "p95": _ms(np.quantile(measured, 0.95)),
            }
    return result


def embed(model: keras.Model, catalogue: Catalogue) -> dict[str, np.ndarray]:
    """Vectors of all items, and of the users of some new interactions."""
    ids = np.arange(catalogue.num_items, dtype="int32")
    users, _ = catalogue.interactions(TEST_USERS, part=0)
    return {
        "items": vectors(model.item_tower, ids),
        "users": vectors(model.user_tower, users),
    }


def search(
    candidates: np.ndarray,
    queries: np.ndarray,
    catalogue: Catalogue,
    approximate: Sequence[str],
) -> dict[str, Any]:
    """Builds the indexes; tells what they find, and how fast.

    Args:
        candidates: the vectors of the items, as `embed` makes them.
        queries: those of the users.
        catalogue: what they are vectors of.
        approximate: kinds of `AnnIndex` to build too. The effort of each is
            tuned on half of the queries, its recall measured on the others.
    """
    users, items = catalogue.interactions(TEST_USERS, part=0)
    best = catalogue.best(users, K)
    start = time.perf_counter()
    exact = BruteForceIndex(K).index(candidates)
    built = {"exact": time.perf_counter() - start}
    _, found = exact(queries)
    indexes: dict[str, Any] = {"exact": exact}
    recall = {}
    for kind in approximate:
        start = time.perf_counter()
        ann = AnnIndex(K, kind=kind).index(candidates)
        built[kind] = time.perf_counter() - start
        ann.tune(queries[::2], exact, RECALL)
        recall[kind] = ann.measured_recall(queries[1::2], exact)
        indexes[kind] = ann
    times = latencies(indexes, queries)
    result: dict[str, Any] = {
        "recall_at_100": _share(found, items),
        "best_possible": _share(best, items),
        "most_popular": float((items < K).mean()),
    }
    for name, index in indexes.items():
        own = {"seconds_to_build": round(built[name], 2), "ms": times[name]}
        if name in recall:
            own |= {
                "effort": index.effort,
                "recall": round(recall[name], 4),
                "times_the_exact_rate": {
                    batch: round(slow["median"] / fast["median"], 1)
                    for (batch, slow), fast in zip(
                        times["exact"].items(),
                        times[name].values(),
                        strict=True,
                    )
                },
            }
        result[name] = own
    return result


def _share(found: np.ndarray, items: np.ndarray) -> float:
    return float((found == items[:, None]).any(axis=1).mean())


def _ms(seconds: Any) -> float:
    return round(float(seconds) * 1e3, 3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the options and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--dense", action="store_true", help="whole tables")
    parser.add_argument(
        "--ann", choices=KINDS, action="append", default=[], help="also this"
    )
    parser.add_argument(
        "--vectors",
        type=Path,
        help="an .npz file of trained vectors to search; made if missing",
    )
    parser.add_argument(
        "--no-search", action="store_true", help="training alone"
    )
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    catalogue = Catalogue(
        options.items, options.users, min(1_000, options.items // 10)
    )
    catalogue.interactions(1_000_000, part=0)
    result: dict[str, Any] = {
        "backend": backend.name(),
        "items": options.items,
        "users": options.users,
        "dim": options.dim,
        "seconds_to_draw_a_million": round(time.perf_counter() - start, 2),
    }
    if options.vectors and options.vectors.exists():
        with np.load(options.vectors) as file:
            found = dict(file)
        if found["items"].shape != (options.items, options.dim):
            parser.error(f"{options.vectors} holds vectors of other sizes")
    else:
        result["table"] = "dense" if options.dense else "sparse"
        model = build(catalogue, options.dim, sparse=not options.dense)
        result["training"] = train(model, catalogue, options.steps)
        if options.vectors or not options.no_search:
            start = time.perf_counter()
            found = embed(model, catalogue)
            result["seconds_to_embed"] = round(time.perf_counter() - start, 2)
        if options.vectors:
            np.savez(options.vectors, **found)
    if not options.no_search:
        result["search"] = search(
            found["items"], found["users"], catalogue, options.ann
        )
    memory = backend.peak_memory().process
    result["peak_memory_mib"] = round(memory / 2**20)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
