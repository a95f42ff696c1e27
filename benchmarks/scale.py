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
from collections.abc import Callable, Sequence
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
RATE = 0.1
# Gradients of a mean over a batch are small: from Adagrad's usual start of 0.1
# the tables would hardly move.
ACCUMULATOR = 1e-6
TEMPERATURE = 0.1
BATCH = 1024
BLOCK = 8192
WARM_UP = 20
TEST_USERS = 1_000
QUERIES = 50
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


def latency(index: Any, queries: np.ndarray, batch: int) -> dict[str, float]:
    """Median and 95th percentile of a search, in milliseconds."""
    index(queries[:batch])
    seconds = []
    for i in range(QUERIES):
        block = np.roll(queries, -i * batch, axis=0)[:batch]
        start = time.perf_counter()
        index(block)
        seconds.append(time.perf_counter() - start)
    return {
        "median": _ms(np.median(seconds)),
        "p95": _ms(np.quantile(seconds, 0.95)),
    }


def latencies(index: Any, queries: np.ndarray) -> dict[int, Any]:
    """`latency` of one query and of batches, by their size."""
    return {batch: latency(index, queries, batch) for batch in SEARCHED}


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
    start = time.perf_counter()
    exact = BruteForceIndex(K).index(candidates)
    built = time.perf_counter()
    users, items = catalogue.interactions(TEST_USERS, part=0)
    _, found = exact(queries)
    best = catalogue.best(users, K)
    times = latencies(exact, queries)
    result: dict[str, Any] = {
        "recall_at_100": _share(found, items),
        "best_possible": _share(best, items),
        "most_popular": float((items < K).mean()),
        "exact": {"seconds_to_build": round(built - start, 2), "ms": times},
    }
    for kind in approximate:
        start = time.perf_counter()
        ann = AnnIndex(K, kind=kind).index(candidates)
        seconds = time.perf_counter() - start
        ann.tune(queries[::2], exact)
        own = latencies(ann, queries)
        result[kind] = {
            "seconds_to_build": round(seconds, 2),
            "effort": ann.effort,
            "recall": round(ann.measured_recall(queries[1::2], exact), 4),
            "ms": own,
            "times_the_exact_rate": {
                batch: round(times[batch]["median"] / own[batch]["median"], 1)
                for batch in own
            },
        }
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
