"""Approximate search on FAISS, with its recall measured."""

import os
from typing import Any, Self

import numpy as np

from keras_multi.errors import DataError, UsageError
from recsys.indexes.base import Index, positive

KINDS = ("hnsw", "ivfpq")
SEED = 1234


class AnnIndex(Index):
    """Finds most of the best candidates without scoring all of them.

    `"hnsw"` walks a graph of neighbours (Malkov and Yashunin 2018, "Efficient
    and robust approximate nearest neighbor search using Hierarchical Navigable
    Small World graphs", algorithm 5). `"ivfpq"` scans the lists nearest to the
    query, of product-quantised residuals (Jégou et al. 2011, "Product
    quantization for nearest neighbor search", section IV), and scores the best
    of them anew by their vectors. It is built in a small part of the time of a
    graph. Needs `pip install 'keras-multi[ann]'`.

    Args:
        k: number of candidates returned by default.
        metric: `"dot"` or `"cosine"`.
        kind: `"hnsw"` or `"ivfpq"`.
        effort: `efSearch` of HNSW (nodes kept while walking), `nprobe` of
            IVF-PQ (lists scanned). `tune` chooses it.
        links: neighbours of a node (HNSW).
        lists: number of lists (IVF-PQ), at most N. None: 2 sqrt(N), but no
            more than N / 40, so that k-means has enough candidates for each.
        codes: number of codes of a candidate (IVF-PQ); must divide D.
        bits: bits of a code (IVF-PQ), up to 8; N must be at least 2**bits.
            4 bits are scanned in the processor's registers (André et al.
            2015, "Cache locality is not enough").
        refine: how many times k candidates are scored by their vectors
            (IVF-PQ), for which these are kept. 1 keeps no vectors; scores
            are then those of the codes.

    Raises:
        UsageError: if faiss is not installed.
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from recsys import AnnIndex
        >>> c = np.random.default_rng(0).normal(size=(500, 8))
        >>> index = AnnIndex(k=5).index(c)
        >>> index(c[:2])[1].shape
        (2, 5)
    """

    def __init__(
        self,
        k: int = 100,
        metric: str = "dot",
        kind: str = "hnsw",
        effort: int = 64,
        links: int = 32,
        lists: int | None = None,
        codes: int = 32,
        bits: int = 4,
        refine: int = 8,
    ) -> None:
        super().__init__(k, metric)
        _faiss()
        if kind not in KINDS:
            raise ValueError(
                f"kind must be one of {', '.join(KINDS)}. "
                f"Received: kind={kind!r}"
            )
        self.kind = kind
        self.effort = positive(effort, "effort")
        self.links = positive(links, "links")
        self.lists = None if lists is None else positive(lists, "lists")
        self.codes = positive(codes, "codes")
        self.bits = positive(bits, "bits")
        self.refine = positive(refine, "refine")
        if bits > 8:
            raise ValueError(f"bits must be at most 8. Received: bits={bits}")

    def index(self, candidates: Any, ids: Any = None) -> Self:
        """Builds the structure, in place of any before.

        Args:
            candidates: array or tensor `(N, D)`.
            ids: N unique integers from 0 or strings; row numbers by default.

        Returns:
            The index itself.

        Raises:
            ValueError: if a shape, a value or an id is wrong.
        """
        vectors = self._prepare(candidates, "candidates")
        count, dim = vectors.shape
        if self.kind == "ivfpq":
            if dim % self.codes:
                raise ValueError(
                    f"codes must divide the {dim} columns. "
                    f"Received: codes={self.codes}"
                )
            least = max(self.lists or 1, 2**self.bits)
            if count < least:
                raise ValueError(
                    f"candidates must number at least {least} for these lists "
                    f"and bits. Received: {count} rows"
                )
        self._set_ids(ids, count)
        self.dim = dim
        vectors = np.ascontiguousarray(vectors)
        self._faiss = self._empty(count, dim)
        if self.kind == "ivfpq":
            self._faiss.train(vectors)
        self._faiss.add(vectors)
        return self

    def _empty(self, count: int, dim: int) -> Any:
        faiss = _faiss()
        product = faiss.METRIC_INNER_PRODUCT
        if self.kind == "hnsw":
            return faiss.IndexHNSWFlat(dim, self.links, product)
        lists = self.lists or max(1, min(int(2 * count**0.5), count // 40))
        parts = f"IVF{lists},PQ{self.codes}x{self.bits}"
        if self.bits == 4:
            parts += "fs"
        if self.refine > 1:
            parts += ",RFlat"
        built = faiss.index_factory(dim, parts, product)
        faiss.extract_index_ivf(built).cp.seed = SEED
        return built

    def _search(
        self, queries: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        faiss = _faiss()
        if self.kind == "hnsw":
            how = faiss.SearchParametersHNSW(efSearch=max(self.effort, k))
        else:
            how = faiss.SearchParametersIVF(nprobe=self.effort)
            if self.refine > 1:
                how = faiss.IndexRefineSearchParameters(
                    k_factor=self.refine, base_index_params=how
                )
        queries = np.ascontiguousarray(queries)
        scores, rows = self._faiss.search(queries, k, params=how)
        return scores, rows

    def measured_recall(
        self, queries: Any, exact: Index, k: int | None = None
    ) -> float:
        """Tells the share of the true best candidates that are found.

        Args:
            queries: array or tensor `(B, D)`.
            exact: an exact index of the same candidates and ids.
            k: number of candidates; that of the constructor by default.

        Returns:
            Recall at k in [0, 1], the mean over the queries.
        """
        k = self.k if k is None else k
        _, found = self(queries, k)
        _, wanted = exact(queries, k)
        return _recall(found, wanted)

    def tune(
        self,
        queries: Any,
        exact: Index,
        recall: float = 0.95,
        k: int | None = None,
    ) -> float:
        """Sets `effort` to the least that reaches a recall, within a 16th.

        Recall grows with the effort, so that this is doubled until it reaches
        the recall, and then closed in on by bisection.

        Args:
            queries: array or tensor `(B, D)`, like those to come.
            exact: an exact index of the same candidates and ids.
            recall: the recall at k to reach, in (0, 1].
            k: number of candidates; that of the constructor by default.

        Returns:
            The recall reached on these queries.

        Raises:
            ValueError: if `recall` is out of range or cannot be reached;
                `effort` is then as before.
        """
        if not 0 < recall <= 1:
            raise ValueError(
                f"recall must lie in (0, 1]. Received: recall={recall}"
            )
        k = self.k if k is None else k
        _, wanted = exact(queries, k)
        before = self.effort

        def reached(effort: int) -> float:
            self.effort = effort
            return _recall(self(queries, k)[1], wanted)

        if self.kind == "hnsw":
            limit = self._faiss.ntotal
        else:
            limit = _faiss().extract_index_ivf(self._faiss).nlist
        too_low, enough = 0, 1
        while (best := reached(enough)) < recall:
            if enough == limit:
                self.effort = before
                raise ValueError(
                    f"recall must be at most the {best:.4f} that this index "
                    "reaches; use more codes, links or refine. "
                    f"Received: recall={recall}"
                )
            too_low, enough = enough, min(2 * enough, limit)
        while enough - too_low > max(1, enough // 16):
            middle = (too_low + enough) // 2
            found = reached(middle)
            if found < recall:
                too_low = middle
            else:
                enough, best = middle, found
        self.effort = enough
        return best

    def _settings(self) -> dict[str, Any]:
        names = ("kind", "effort", "links", "lists", "codes", "bits", "refine")
        return {name: getattr(self, name) for name in names}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the structure, ids and settings to `index.npz`.

        Raises:
            UsageError: if the index is empty.
            KerasMultiError: if the file cannot be written.
        """
        if self.ids is None:
            raise UsageError("the index is empty; call index() before save()")
        self._write(folder, faiss=_faiss().serialize_index(self._faiss))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote.

        Raises:
            DataError: if the file is missing or damaged.
        """
        index, arrays = cls._read(folder)
        assert index.ids is not None
        try:
            built = _faiss().deserialize_index(arrays["faiss"])
        except (KeyError, RuntimeError, AssertionError, TypeError) as error:
            raise DataError(
                f"the index in {folder} is damaged; save it again"
            ) from error
        if (built.ntotal, built.d) != (len(index.ids), index.dim):
            raise DataError(
                f"the index in {folder} is damaged: its candidates do not "
                "match its ids; save it again"
            )
        index._faiss = built
        return index


def _recall(found: np.ndarray, wanted: np.ndarray) -> float:
    pairs = zip(found, wanted, strict=True)
    return float(np.mean([np.isin(w, f).mean() for f, w in pairs]))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise UsageError(
            "AnnIndex needs faiss; run: pip install 'keras-multi[ann]'"
        ) from error
    return faiss
