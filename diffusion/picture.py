"""Pictures that tell how they were made."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from keras_multi.errors import DataError, UsageError
from keras_multi.files import replacing

KEY = "keras-multi"
Path = str | os.PathLike[str]


def save(path: Path, picture: np.ndarray, settings: Mapping[str, Any]) -> None:
    """Writes a PNG file with the settings that made the picture.

    Args:
        path: of the file, in a folder that exists.
        picture: uint8 `(H, W, 3)`.
        settings: what JSON can hold.

    Raises:
        UsageError: if the picture is of another kind or the file name does
            not end in `.png`.
        KerasMultiError: if the file cannot be written.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UsageError(
            "a picture must be uint8 (H, W, 3). "
            f"Received: {picture.dtype} {picture.shape}"
        )
    if not os.fspath(path).lower().endswith(".png"):
        raise UsageError(
            "settings are kept in PNG files; the name must end in .png. "
            f"Received: {os.fspath(path)}"
        )
    text = PngImagePlugin.PngInfo()
    text.add_text(KEY, json.dumps(dict(settings), sort_keys=True))
    with replacing(path) as file:
        Image.fromarray(picture).save(file, "PNG", pnginfo=text)


def settings_of(path: Path) -> dict[str, Any]:
    """Reads the settings from a file that `save` wrote.

    Raises:
        DataError: if it cannot be read or does not have any.
    """
    try:
        with Image.open(path) as image:
            text = image.info.get(KEY)
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is no picture") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if text is None:
        raise DataError(f"{path} does not tell how it was made")
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise DataError(f"the settings in {path} are damaged") from error
    if not isinstance(settings, dict):
        raise DataError(f"the settings in {path} are damaged")
    return settings
