"""The exact index over candidates that memory does not hold."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from keras import ops

from keras_multi.errors import DataError, UsageError
from keras_multi.files import prepare_folder, replacing
from recsys.indexes.base import Index, positive
from recsys.indexes.topk import ExactSearch, split

Chunks = Iterable[Any] | Callable[[], Iterable[Any]]


class StreamingIndex(Index):
    """Finds the best candidates chunk by chunk, keeping the best so far.

    The order is that of `BruteForceIndex`, ties included; scores agree to the
    rounding of float32. Only ids and one chunk are in memory.

    Args:
        k: number of candidates returned by default.
        metric: `"dot"` or `"cosine"`.
        chunk: rows read at a time from an array.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from recsys import StreamingIndex
        >>> index = StreamingIndex(k=1, chunk=2).index(np.eye(3))
        >>> index(np.array([[1.0, 3.0, 2.0]]))[1].tolist()
        [[1]]
    """

    def __init__(
        self, k: int = 100, metric: str = "dot", chunk: int = 50_000
    ) -> None:
        super().__init__(k, metric)
        self.chunk = positive(chunk, "chunk")
        self._exact = ExactSearch()

    def index(self, candidates: np.ndarray | Chunks, ids: Any = None) -> Self:
        """Reads all candidates once, to check them and to learn the ids.

        Args:
            candidates: an array or `np.memmap` `(N, D)`; or a list, or a
                function that returns an iterator, of `(candidates, ids)`
                chunks. They are read again at each call of the index.
            ids: N unique integers from 0 or strings, for an array only; row
                numbers by default.

        Returns:
            The index itself.

        Raises:
            ValueError: if a shape, a value or an id is wrong, or candidates
                can be read only once.
        """
        if isinstance(candidates, Iterator):
            raise ValueError(
                "candidates are read at each call; give a function that "
                f"returns an iterator. Received: candidates={candidates}"
            )
        is_array = isinstance(candidates, np.ndarray)
        if not is_array and ids is not None:
            raise ValueError(
                "ids of chunks come with the chunks. Received: ids"
            )
        names, dims, count = [], set(), 0
        self._source = candidates
        for vectors, chunk_ids in self._chunks():
            count += len(vectors)
            dims.add(vectors.shape[1])
            if not is_array:
                names.append(np.asarray(chunk_ids))
        if len(dims) > 1:
            raise ValueError(
                f"chunks must have equal columns. Received: {sorted(dims)}"
            )
        if names:
            ids = np.concatenate(names)
        self._set_ids(ids, count)
        self.dim = dims.pop()
        return self

    def _chunks(self) -> Iterator[tuple[np.ndarray, Any]]:
        source = self._source
        if isinstance(source, np.ndarray):
            for start in range(0, len(source), self.chunk):
                part = source[start : start + self.chunk]
                yield self._prepare(part, "candidates"), None
            return
        for vectors, ids in source() if callable(source) else source:
            yield self._prepare(vectors, "candidates"), ids

    def _search(
        self, queries: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = np.empty((len(queries), 0), np.float32)
        rows = np.empty((len(queries), 0), np.int64)
        start = 0
        for vectors, _ in self._chunks():
            parts = [ops.convert_to_tensor(part) for part in split(vectors)]
            found, where = self._exact(queries, parts, min(k, len(vectors)))
            scores = np.concatenate([scores, found], axis=1)
            rows = np.concatenate([rows, where + start], axis=1)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            scores = np.take_along_axis(scores, order, axis=1)
            rows = np.take_along_axis(rows, order, axis=1)
            start += len(vectors)
        return scores, rows

    def _settings(self) -> dict[str, Any]:
        return {"chunk": self.chunk}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the candidates, chunk by chunk, and `index.npz` about them.

        `index.npz` comes last and names the file of its candidates, so that
        an index in the folder is whole until it is replaced.

        Raises:
            UsageError: if the index is empty.
            KerasMultiError: if a file cannot be written.
        """
        if self.ids is None:
            raise UsageError("the index is empty; call index() before save()")
        path = prepare_folder(folder) / f"candidates-{uuid.uuid4().hex}.npy"
        shape = (len(self.ids), self.dim)
        with replacing(path) as temporary:
            target = np.lib.format.open_memmap(
                temporary, mode="w+", dtype=np.float32, shape=shape
            )
            start = 0
            for vectors, _ in self._chunks():
                target[start : start + len(vectors)] = vectors
                start += len(vectors)
            target.flush()
        self._write(folder, candidates=np.array(path.name))
        for old in path.parent.glob("candidates-*.npy"):
            if old != path:
                old.unlink()

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Maps what `save` wrote, on any backend.

        Raises:
            DataError: if a file is missing or damaged.
        """
        index, arrays = cls._read(folder)
        path = Path(folder) / Path(str(arrays.get("candidates"))).name
        try:
            source = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise DataError(
                f"cannot read {path}: it is missing or damaged; save the "
                "index again"
            ) from error
        assert index.ids is not None
        if source.shape != (len(index.ids), index.dim):
            raise DataError(
                f"{path} is damaged: it does not match its ids; save the "
                "index again"
            )
        index._source = source
        return index
