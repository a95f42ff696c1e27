"""Captioned pictures to learn from, and those to be put together."""

from dataclasses import dataclass

import numpy as np

from diffusion import emoji, recolored

SIZE = 64  # of a picture, in pixels
SHIFTS = (0, 16)  # where a drawing may stand, from above and from the left
PLACES = tuple((top, left) for top in SHIFTS for left in SHIFTS)
NUM_VARIANTS = len(PLACES)


@dataclass(frozen=True)
class Pictures:
    """Drawings with their captions.

    Attributes:
        drawings: uint8 `(n, emoji.SIZE, emoji.SIZE, 3)`.
        captions: of each drawing, at least one.
    """

    drawings: np.ndarray
    captions: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.drawings)

    @property
    def words(self) -> list[str]:
        """The words of all captions, in order."""
        texts = (text for own in self.captions for text in own)
        return sorted({word for text in texts for word in text.split()})


@dataclass(frozen=True)
class Split:
    """What to train on, and what to make without having seen it.

    Attributes:
        train: emoji by their names, and things in colors.
        held_out: pairs of color and thing that are not among them.
    """

    train: Pictures
    held_out: Pictures


def load(pictures: int | None = None) -> Split:
    """Draws all pictures; they are the same everywhere.

    Args:
        pictures: how many to train on at most, spread evenly over all.

    Raises:
        DataError: if the font is not installed, or not one of bitmaps.
    """
    drawings, captions = emoji.load()
    pairs = recolored.load()
    texts = np.array(pairs.captions)
    out = pairs.held_out
    train = Pictures(
        np.concatenate([drawings, pairs.pictures[~out]]),
        captions + tuple((str(text),) for text in texts[~out]),
    )
    held_out = Pictures(
        pairs.pictures[out], tuple((str(text),) for text in texts[out])
    )
    if pictures is not None and pictures < len(train):
        chosen = np.linspace(0, len(train) - 1, pictures).astype(int)
        train = Pictures(
            train.drawings[chosen], tuple(train.captions[i] for i in chosen)
        )
    return Split(train, held_out)


def variant(drawings: np.ndarray, number: int) -> np.ndarray:
    """Puts drawings at one of the places that they are shown at.

    Args:
        drawings: uint8 `(n, emoji.SIZE, emoji.SIZE, 3)`.
        number: of the place, below `NUM_VARIANTS`.

    Returns:
        uint8 `(n, SIZE, SIZE, 3)`.
    """
    return place(drawings, *PLACES[number])


def place(
    drawings: np.ndarray, top: int, left: int, mirrored: bool = False
) -> np.ndarray:
    """Puts drawings somewhere on white.

    Args:
        drawings: uint8 `(n, emoji.SIZE, emoji.SIZE, 3)`.
        top: pixels above them.
        left: pixels on their left.
        mirrored: whether left and right change places.

    Returns:
        uint8 `(n, SIZE, SIZE, 3)`.
    """
    if mirrored:
        drawings = drawings[:, :, ::-1]
    bottom, right = (SIZE - emoji.SIZE - start for start in (top, left))
    edges = ((0, 0), (top, bottom), (left, right), (0, 0))
    return np.pad(drawings, edges, constant_values=255)
