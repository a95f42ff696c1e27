"""What the top-k workloads share: vectors, and the contenders."""

import functools
import importlib
import importlib.util
from collections.abc import Callable

import numpy as np

from benchmarks.results import Cost
from benchmarks.workload import Contender, Setting, Workload
from keras_multi import backend
from recsys.indexes.brute_force import BruteForceIndex

BATCHES = 4
STEPS = 2
STORED = {
    "float32": "float32",
    "mixed_bfloat16": "bfloat16",
    "mixed_float16": "float16",
    "bfloat16": "bfloat16",
}


@functools.lru_cache(maxsize=1)
def vectors(count: int, dim: int) -> np.ndarray:
    """Candidates, float32 `(count, dim)`; one copy for all contenders."""
    return np.random.default_rng(0).standard_normal((count, dim), "float32")


class TopKWorkload(Workload):
    """Batches of queries against an index in memory.

    Args:
        count: number of candidates.
        dim: width of the vectors.
        k: number of candidates found for each query.
        batch_sizes: numbers of queries that are measured.
    """

    unit = "queries"

    def __init__(
        self, count: int, dim: int, k: int, batch_sizes: tuple[int, ...]
    ) -> None:
        self.count, self.dim, self.k = count, dim, k
        self.batch_sizes = batch_sizes

    def steps(self, batch_size: int) -> int:
        """Few: each takes long."""
        return STEPS

    def cost(self, batch_size: int) -> Cost:
        """One product with all candidates, which are read once."""
        products = self.count * self.dim
        return Cost(
            operations=2.0 * batch_size * products,
            bytes=4.0 * (products + batch_size * (self.dim + 2 * self.k)),
            source="workload",
        )

    def _contender(
        self,
        search: Callable[[np.ndarray], np.ndarray],
        setting: Setting,
    ) -> Contender:
        rng = np.random.default_rng(1)
        shape = (BATCHES, setting.batch_size, self.dim)
        return _Search(search, rng.standard_normal(shape, "float32"))

    def build(self, setting: Setting) -> Contender:
        """The project's exact index, in the precision of the cell."""
        index = BruteForceIndex(self.k, dtype=STORED[setting.precision])
        index.index(vectors(self.count, self.dim))
        return self._contender(lambda queries: index(queries)[0], setting)

    def native(self, setting: Setting) -> Contender | None:
        """A product and the framework's own top-k."""
        if setting.precision != "float32":
            return None
        module = importlib.import_module(
            f"benchmarks.workloads.native.{backend.name()}"
        )
        search = module.top_k(vectors(self.count, self.dim), self.k)
        return self._contender(search, setting)

    def peers(self, setting: Setting) -> dict[str, Contender]:
        """The flat index of FAISS, where it is installed."""
        if setting.precision != "float32":
            return {}
        if importlib.util.find_spec("faiss") is None:
            return {}
        import faiss

        faiss.omp_set_num_threads(backend.threads())
        flat = faiss.IndexFlatIP(self.dim)
        flat.add(vectors(self.count, self.dim))
        found = self._contender(
            lambda queries: flat.search(queries, self.k)[0], setting
        )
        return {"faiss": found}


class _Search(Contender):
    def __init__(
        self,
        search: Callable[[np.ndarray], np.ndarray],
        queries: np.ndarray,
    ) -> None:
        self.search, self.queries = search, queries
        self.done = 0

    def output(self) -> np.ndarray:
        """Scores of the first batch, falling."""
        return self.search(self.queries[0])

    def run(self, steps: int) -> None:
        """Searches with the next batches."""
        for _ in range(steps):
            self.search(self.queries[self.done % len(self.queries)])
            self.done += 1
