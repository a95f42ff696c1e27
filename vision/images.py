"""Reads image files of any kind as pixels that a classifier takes."""

import io
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from keras_multi.errors import DataError, UsageError

MAX_PIXELS = 100_000_000
MAX_BYTES = 100_000_000
URL_SECONDS = 20
URL_PREFIXES = ("http://", "https://")
CROP = 0.875  # share of the shorter side that a classifier sees

Source = str | PathLike[str]


def find_images(sources: Iterable[Source]) -> list[str]:
    """Lists images: files and addresses as given, and those in folders.

    Args:
        sources: paths of files, paths of folders, which are searched with
            all that is in them, and addresses that begin with `http://` or
            `https://`.

    Returns:
        Paths and addresses; those of one folder in alphabetical order. Files
        in a folder count if their suffix is one of an image.

    Raises:
        UsageError: if there is nothing of that name, or no image in a folder.
    """
    found = []
    for source in sources:
        path = Path(source)
        if str(source).startswith(URL_PREFIXES):
            found.append(str(source))
        elif path.is_dir():
            suffixes = Image.registered_extensions()
            inside = sorted(
                str(file)
                for file in path.rglob("*")
                if file.suffix.lower() in suffixes and file.is_file()
            )
            if not inside:
                raise UsageError(f"there is no image in the folder {path}")
            found += inside
        elif path.exists():
            found.append(str(path))
        else:
            raise UsageError(f"there is no file or folder {path}")
    return found


def read_image(source: Source, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads an image of any kind that Pillow knows.

    It is turned as its EXIF orientation says. What is transparent lies on
    white, an animation gives its first frame, and 16 bits become 8.

    Args:
        source: path of a file, or address that begins with `http://` or
            `https://`.
        max_pixels: most pixels that are accepted. They are counted before
            any is decoded.

    Returns:
        The image, in mode `"RGB"`.

    Raises:
        DataError: naming the file, if it cannot be read, is no image, is
            damaged or is too large.

    Example:
        >>> import tempfile
        >>> path = tempfile.mktemp(suffix=".gif")
        >>> Image.new("L", (4, 3), 255).save(path)
        >>> np.asarray(read_image(path)).shape
        (3, 4, 3)
    """
    content = _content(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Errors tell of all that matters.
        try:
            image = Image.open(io.BytesIO(content))
        except Image.DecompressionBombError as error:
            raise DataError(f"{source}: {error}") from error
        except Exception as error:  # Decoders raise errors of any class.
            raise DataError(
                f"{source} is no image of a kind that Pillow reads"
            ) from error
        if image.width * image.height > max_pixels:
            raise DataError(
                f"{source} has {image.width} x {image.height} pixels; at most "
                f"{max_pixels:,} are accepted"
            )
        try:
            return _to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:  # Decoders raise errors of any class.
            raise DataError(f"{source} is damaged: {error}") from error


def prepare(image: Image.Image, size: int, channels: int = 3) -> np.ndarray:
    """Cuts the middle out of an image and scales it, as for ImageNet.

    The square has 0.875 of the shorter side and is scaled by bicubic
    interpolation (Tan and Le 2019, EfficientNet, evaluation code).

    Args:
        image: in mode `"RGB"`.
        size: height and width wanted.
        channels: 3 for colour, 1 for grey.

    Returns:
        Uint8 `(size, size, channels)`.
    """
    if channels == 1:
        image = image.convert("L")
    scaled = image.resize(
        (size, size), Image.Resampling.BICUBIC, box=middle(image)
    )
    return np.asarray(scaled).reshape(size, size, channels)


def middle(image: Image.Image) -> tuple[float, float, float, float]:
    """Tells what `prepare` cuts out: left, top, right and bottom in pixels."""
    side = CROP * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side


def _content(source: Source) -> bytes:
    try:
        if str(source).startswith(URL_PREFIXES):
            with urllib.request.urlopen(
                str(source), timeout=URL_SECONDS
            ) as response:
                content: bytes = response.read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except urllib.error.URLError as error:
        raise DataError(f"{source} cannot be read: {error.reason}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{source} cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise DataError(
            f"{source} is too large; at most {MAX_BYTES:,} bytes are accepted"
        )
    return content


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        bright = np.asarray(image, np.uint32) * 255 // 65535
        image = Image.fromarray(bright.astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    colours = image.convert("RGBA")
    white = Image.new("RGBA", colours.size, "white")
    return Image.alpha_composite(white, colours).convert("RGB")
