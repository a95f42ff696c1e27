"""The data sets that can be loaded by name."""

from pathlib import Path

from keras_multi.data import adult, blender, movielens
from keras_multi.data.cache import default_cache_dir
from keras_multi.data.info import DatasetInfo
from keras_multi.data.table import Table
from keras_multi.errors import UsageError

REGISTRY = {
    info.name: info for info in (adult.INFO, blender.INFO, movielens.INFO)
}


def names() -> tuple[str, ...]:
    """Gives the names of the data sets.

    Example:
        >>> names()
        ('adult', 'blender', 'movielens-100k')
    """
    return tuple(REGISTRY)


def load(
    name: str, *, cache_dir: Path | None = None, progress: bool = True
) -> Table:
    """Loads a data set by name.

    The first call fetches the files and prints the licence on standard
    error. Later calls read them from the cache and verify their checksums.

    Example:
        >>> len(load("blender"))
        100000

    Args:
        name: one of `names()`.
        cache_dir: folder that downloads are kept in; `default_cache_dir()` if
            not given.
        progress: whether to report a download on standard error.

    Returns:
        The table, rows in the order of the source.

    Raises:
        UsageError: if there is no data set of this name.
        DataError: if it is not cached and cannot be fetched, or if the cache
            cannot be written.
    """
    root = default_cache_dir() if cache_dir is None else Path(cache_dir)
    return _info(name).table(root, progress)


def train_test(
    name: str, *, cache_dir: Path | None = None, progress: bool = True
) -> tuple[Table, Table]:
    """Loads a data set in the split that results are reported on.

    `blender` trains on its first 90,000 rows. The others are split 80:20 at
    random with seed 42.

    Example:
        >>> train, test = train_test("blender")
        >>> len(train), len(test)
        (90000, 10000)

    Args:
        name: one of `names()`.
        cache_dir: folder that downloads are kept in; `default_cache_dir()` if
            not given.
        progress: whether to report a download on standard error.

    Returns:
        The training table and the test table.

    Raises:
        UsageError: if there is no data set of this name.
        DataError: if it is not cached and cannot be fetched, or if the cache
            cannot be written.
    """
    table = load(name, cache_dir=cache_dir, progress=progress)
    train, test = _info(name).split(table)
    return train, test


def _info(name: str) -> DatasetInfo:
    if name not in REGISTRY:
        raise UsageError(
            f"There is no data set {name!r}. Known: {', '.join(names())}."
        )
    return REGISTRY[name]
