"""Emoji in color, drawn with the font of the Noto project."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_multi.errors import DataError

FONT = "NotoColorEmoji.ttf"
PIXELS = 109  # the one size that the bitmaps of the font have
CANVAS = 136


def find_font() -> Path:
    """Finds the font among those of the system.

    Raises:
        DataError: if it is not there.
    """
    from matplotlib import font_manager

    for path in map(Path, font_manager.findSystemFonts()):
        if path.name == FONT:
            return path
    raise DataError(
        f"the font {FONT} is not installed; on Debian and Ubuntu, "
        "apt-get install fonts-noto-color-emoji"
    )


def open_font(path: Path) -> ImageFont.FreeTypeFont:
    """Opens a font of bitmaps in color.

    Raises:
        DataError: if it is of another kind.
    """
    try:
        return ImageFont.truetype(path, PIXELS)
    except OSError as error:
        raise DataError(
            f"{path} cannot be drawn with: {error}; the version with bitmaps "
            "is needed, as Debian has it"
        ) from error


def assigned(ranges: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Gives the characters of the ranges that Unicode knows."""
    for first, last in ranges:
        for code in range(first, last + 1):
            if unicodedata.name(chr(code), ""):
                yield chr(code)


def draw(
    character: str, font: ImageFont.FreeTypeFont, background: str = "white"
) -> np.ndarray:
    """Draws a character, uint8 `(CANVAS, CANVAS, 3)`."""
    image = Image.new("RGB", (CANVAS, CANVAS), background)
    ImageDraw.Draw(image).text(
        (0, 4), character, "black", font, embedded_color=True
    )
    return np.asarray(image)
