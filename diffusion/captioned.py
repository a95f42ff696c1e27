"""Folders of pictures with captions."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from keras_multi.errors import DataError

INDEX = "metadata.jsonl"
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

Captions = tuple[tuple[str, ...], ...]


def read(
    folder: str | os.PathLike[str], size: tuple[int, int]
) -> tuple[np.ndarray, Captions]:
    """Reads the pictures of a folder, in the order of their names.

    Captions stand in `metadata.jsonl`, one line a picture (`{"file_name":
    "cat.png", "text": "a cat"}`), or beside each picture in a text file of
    its name, `cat.txt`, with a caption in each line.

    Args:
        folder: the folder.
        size: height and width. Pictures are scaled to cover it, and what
            stands out on two sides is cut off.

    Returns:
        uint8 `(n, height, width, 3)`, and the captions of each.

    Raises:
        DataError: if there is no picture, one of them cannot be read or has
            no caption, or the index is damaged.
    """
    path = Path(folder)
    found = list(_indexed(path) if (path / INDEX).exists() else _paired(path))
    if not found:
        raise DataError(
            f"{path} holds no pictures ({', '.join(KINDS)}) with captions"
        )
    for file, captions in found:
        if not captions:
            raise DataError(f"{file} has no caption")
    pictures = [_picture(file, size) for file, _ in found]
    return np.stack(pictures), tuple(captions for _, captions in found)


def _indexed(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    path = folder / INDEX
    rows: dict[str, list[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in filter(str.strip, lines):
            row = json.loads(line)
            rows.setdefault(row["file_name"], []).append(row["text"].strip())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {error!r}") from error
    for name in sorted(rows):
        yield folder / name, tuple(filter(None, rows[name]))


def _paired(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in KINDS:
            continue
        text = file.with_suffix(".txt")
        try:
            lines = text.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(
                f"cannot read the captions of {file}: {error}"
            ) from error
        yield file, tuple(filter(None, map(str.strip, lines)))


def _picture(file: Path, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"cannot read the picture {file}: {error}") from error
    scale = max(height / image.height, width / image.width)
    image = image.resize(
        (
            max(width, round(image.width * scale)),
            max(height, round(image.height * scale)),
        ),
        Image.Resampling.LANCZOS,
    )
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return np.asarray(image.crop((left, top, left + width, top + height)))
