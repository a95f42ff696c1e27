"""Emoji with their Unicode names, no two of them near twins.

Drawn with the font of the Noto project: some five hundred pictures of things
in color, with captions, at hand wherever the font is.
"""

import unicodedata
from collections import Counter

import numpy as np
from PIL import Image

from keras_multi.data.emoji_font import assigned, draw, find_font, open_font

SIZE = 48  # of a drawing, in pixels

# Two pictures closer than this (mean square of the difference, pixels in
# [-1, 1]; 13.7 dB) are near twins: clock faces, phases of the moon, faces.
NEAREST = 0.17
# A short caption must not stand for more pictures than this.
MOST_PICTURES = 3
MOST_WORDS = 4

# First and last code points (Unicode 14): the sky, plants, food, things,
# sport, buildings, animals, clothes, people at work, vehicles, tools.
RANGES = (
    (0x2602, 0x2603),
    (0x2615, 0x2618),
    (0x2693, 0x2699),
    (0x26BD, 0x26BE),
    (0x26EA, 0x26FD),
    (0x2702, 0x270F),
    (0x2744, 0x2744),
    (0x1F300, 0x1F3F0),
    (0x1F3F5, 0x1F43F),
    (0x1F451, 0x1F463),
    (0x1F476, 0x1F4A3),
    (0x1F4A7, 0x1F4B0),
    (0x1F4B8, 0x1F4FF),
    (0x1F526, 0x1F52F),
    (0x1F54A, 0x1F54E),
    (0x1F56F, 0x1F5FF),
    (0x1F680, 0x1F6A6),
    (0x1F6B2, 0x1F6B8),
    (0x1F6CB, 0x1F6FC),
    (0x1F934, 0x1F96F),
    (0x1F977, 0x1F9C9),
    (0x1F9DA, 0x1FAD9),
)
# Signs, and what there are many of that look alike.
LEFT_OUT = (
    "adult alien arrow banknote book boy calendar chart child clock couple "
    "emoji envelope faces finger flag girl hand heart hearts index lock "
    "mailbox man mark men modifier moon musical no off older ornament people "
    "person sign symbol woman women"
)
JOINTS = "and at back behind facing in of on or over with"


def load() -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    """Draws the emoji on white.

    Returns:
        Pictures, uint8 `(n, SIZE, SIZE, 3)`, and the captions of each: its
        name, then shorter ones.

    Raises:
        DataError: if the font is not installed, or not one of bitmaps.
    """
    font = open_font(find_font())
    missing = draw("\U0010ffff", font)
    left_out = set(LEFT_OUT.split())
    pictures, names = [], []
    for character in assigned(RANGES):
        name = words(unicodedata.name(character))
        if len(name) > MOST_WORDS or left_out.intersection(name):
            continue
        picture = draw(character, font)
        drawn = not np.array_equal(picture, missing) and picture.std() > 8
        if drawn:
            pictures.append(shrink(picture))
            names.append(name)
    kept = without_twins(np.stack(pictures), NEAREST)
    return np.stack([pictures[i] for i in kept]), captions(
        [names[i] for i in kept]
    )


def words(name: str) -> tuple[str, ...]:
    """Parts a name of Unicode into words in lower case.

    Example:
        >>> words("HIGH-SPEED TRAIN")
        ('high', 'speed', 'train')
    """
    return tuple(name.lower().replace("-", " ").split())


def shrink(picture: np.ndarray) -> np.ndarray:
    """Makes a drawing of `SIZE` pixels a side."""
    image = Image.fromarray(picture)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX))


def without_twins(pictures: np.ndarray, nearest: float) -> list[int]:
    """Goes through pictures and leaves out those close to one before.

    Args:
        pictures: uint8 `(n, H, W, 3)`.
        nearest: least mean square of the difference between two that stay,
            pixels in [-1, 1].

    Returns:
        The numbers of those that stay.
    """
    flat = pictures.reshape(len(pictures), -1).astype(np.float32) / 127.5 - 1
    kept: list[int] = []
    for i, picture in enumerate(flat):
        distances = np.mean((flat[kept] - picture) ** 2, axis=1)
        if not kept or distances.min() >= nearest:
            kept.append(i)
    return kept


def captions(names: list[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Gives the captions of pictures from the words of their names.

    After the name itself: what stands before "with", "of" and the like, and
    the last word of that (without the adjectives, mostly), unless that would
    stand for too many pictures.

    Args:
        names: the words of each name.

    Example:
        >>> captions([("red", "apple"), ("slice", "of", "pizza")])
        (('red apple', 'apple'), ('slice of pizza', 'slice'))
    """
    joints = JOINTS.split()
    found = []
    for name in names:
        ends = [i for i, word in enumerate(name) if word in joints and i]
        head = name[: ends[0]] if ends else name
        short = [head, head[-1:]]
        found.append([" ".join(name), *(" ".join(s) for s in short if s)])
    counts = Counter(caption for own in found for caption in set(own))
    return tuple(
        tuple(
            dict.fromkeys(
                caption
                for i, caption in enumerate(own)
                if i == 0 or counts[caption] <= MOST_PICTURES
            )
        )
        for own in found
    )
