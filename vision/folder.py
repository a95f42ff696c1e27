"""A folder with one folder of images for each class."""

import os
import sys
from pathlib import Path

import numpy as np

from keras_multi.errors import DataError
from vision.images import prepare, read_image

MOST_NAMED = 5


def class_folders(path: str | os.PathLike[str]) -> list[Path]:
    """Lists the folders of the classes, in the order of their names.

    Raises:
        DataError: if there are fewer than two, or `path` is no folder.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(
            f"there is no data set and no folder {str(path)!r}; a folder must "
            "hold one folder of images for each class"
        )
    folders = sorted(
        entry
        for entry in root.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if len(folders) < 2:
        found = ", ".join(entry.name for entry in folders) or "none"
        raise DataError(
            f"{root} must hold at least two folders, one for each class. "
            f"Received: {found}"
        )
    return folders


def image_files(folder: Path) -> list[Path]:
    """Lists the files of a class, with those in folders below; no hidden ones.

    Raises:
        DataError: if there are none.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
    if not files:
        raise DataError(
            f"the folder {folder} of class {folder.name!r} is empty"
        )
    return files


def load(
    path: str | os.PathLike[str], size: int, skip_damaged: bool = False
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Reads all images of a folder into memory.

    Args:
        path: the folder. Its folders are the classes.
        size: height and width of the result; see `vision.images.prepare`.
        skip_damaged: whether to leave out files that are no images, and name
            them on stderr, or to refuse them.

    Returns:
        Images, uint8 `(n, size, size, 3)`, labels `(n,)`, and the names of
        the classes, in alphabetical order.

    Raises:
        DataError: if there are fewer than two classes, a class has no images,
            or a file is no image and is not skipped. The message names
            the files.
    """
    folders = class_folders(path)
    images: list[np.ndarray] = []
    labels: list[int] = []
    damaged: list[str] = []
    for label, folder in enumerate(folders):
        good = 0
        for file in image_files(folder):
            try:
                images.append(prepare(read_image(file), size))
            except DataError as error:
                damaged.append(str(error))
                continue
            labels.append(label)
            good += 1
        if not good:
            raise DataError(
                f"no file of class {folder.name!r} in {folder} is an image; "
                f"the first one: {damaged[-1]}"
            )
    if damaged:
        _report(damaged, skip_damaged)
    names = tuple(folder.name for folder in folders)
    return np.stack(images), np.array(labels, np.int32), names


def _report(damaged: list[str], skip: bool) -> None:
    named = "; ".join(damaged[:MOST_NAMED])
    if (more := len(damaged) - MOST_NAMED) > 0:
        named += f"; and {more:,} more"
    if not skip:
        raise DataError(
            f"{len(damaged):,} files are no images: {named}; take them away, "
            "or leave them out with --skip-damaged"
        )
    print(f"skipped {len(damaged):,} files: {named}", file=sys.stderr)
