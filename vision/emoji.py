"""Color emoji by category, drawn with the font of the Noto project.

A few hundred pictures of things in color, at hand wherever the font is: a
small set to fine-tune on. Skin tones are left out, since they would make
near copies.
"""

import numpy as np

from keras_multi.data.emoji_font import assigned, draw, find_font, open_font
from vision.resize import resize_all

# First and last code points, by category (Unicode 15, emoji-test.txt).
CATEGORIES: dict[str, tuple[tuple[int, int], ...]] = {
    "animal": ((0x1F400, 0x1F43E), (0x1F980, 0x1F9AE)),
    "building": ((0x1F3DA, 0x1F3DB), (0x1F3E0, 0x1F3F0), (0x1F5FC, 0x1F5FE)),
    "clock": ((0x1F550, 0x1F567),),
    "clothing": (
        (0x1F451, 0x1F462),
        (0x1F97B, 0x1F97F),
        (0x1F9E2, 0x1F9E6),
        (0x1FA70, 0x1FA74),
    ),
    "face": (
        (0x1F600, 0x1F637),
        (0x1F641, 0x1F644),
        (0x1F910, 0x1F917),
        (0x1F920, 0x1F925),
        (0x1F927, 0x1F92F),
        (0x1F970, 0x1F976),
    ),
    "food": (
        (0x1F32D, 0x1F330),
        (0x1F33D, 0x1F33D),
        (0x1F345, 0x1F37F),
        (0x1F950, 0x1F96F),
        (0x1F9C0, 0x1F9CB),
    ),
    "hand": (
        (0x1F446, 0x1F450),
        (0x1F590, 0x1F590),
        (0x1F595, 0x1F596),
        (0x1F64C, 0x1F64C),
        (0x1F64F, 0x1F64F),
        (0x1F90C, 0x1F90F),
        (0x1F918, 0x1F91F),
        (0x1F932, 0x1F932),
        (0x1FAF0, 0x1FAF8),
    ),
    "sport": (
        (0x1F3BD, 0x1F3C0),
        (0x1F3C5, 0x1F3C6),
        (0x1F3C8, 0x1F3C9),
        (0x1F3CF, 0x1F3D3),
        (0x1F3F8, 0x1F3F9),
        (0x1F945, 0x1F945),
        (0x1F947, 0x1F94F),
    ),
    "vehicle": (
        (0x1F680, 0x1F6A4),
        (0x1F6B2, 0x1F6B2),
        (0x1F6E5, 0x1F6E5),
        (0x1F6E9, 0x1F6E9),
        (0x1F6F3, 0x1F6FC),
    ),
}


def load(size: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Draws the emoji of all categories on white.

    Args:
        size: height and width of the images.

    Returns:
        Images, uint8 `(n, size, size, 3)`, labels `(n,)`, and the names of
        the categories.

    Raises:
        DataError: if the font is not installed, or not one of bitmaps.
    """
    font = open_font(find_font())
    missing = draw("\U0010ffff", font)
    images, labels = [], []
    for label, ranges in enumerate(CATEGORIES.values()):
        for character in assigned(ranges):
            image = draw(character, font)
            if not np.array_equal(image, missing):
                images.append(image)
                labels.append(label)
    return (
        resize_all(np.stack(images), size),
        np.array(labels, np.int32),
        tuple(CATEGORIES),
    )
