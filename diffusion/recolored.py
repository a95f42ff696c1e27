"""Things in colors that they do not have: what composition is learned from.

Each thing is one emoji, drawn in each color of a list, so that a model can
put together what it has only seen apart: a fifth of the pairs is held out of
the training.
"""

from dataclasses import dataclass

import numpy as np
from PIL import ImageFont

from diffusion.emoji import shrink
from keras_multi.data.emoji_font import draw, find_font, open_font

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (222, 32, 38),
    "orange": (250, 140, 20),
    "yellow": (245, 212, 20),
    "green": (40, 160, 60),
    "blue": (30, 90, 230),
    "purple": (140, 50, 190),
    "pink": (250, 120, 185),
    "gray": (125, 128, 132),
}
THINGS: dict[str, str] = {
    "airplane": "\u2708",
    "axe": "\U0001fa93",
    "balloon": "\U0001f388",
    "banana": "\U0001f34c",
    "bell": "\U0001f514",
    "bicycle": "\U0001f6b2",
    "bird": "\U0001f426",
    "bus": "\U0001f68c",
    "butterfly": "\U0001f98b",
    "cactus": "\U0001f335",
    "car": "\U0001f697",
    "cat": "\U0001f408",
    "chair": "\U0001fa91",
    "crown": "\U0001f451",
    "dinosaur": "\U0001f995",
    "dog": "\U0001f415",
    "dress": "\U0001f457",
    "duck": "\U0001f986",
    "elephant": "\U0001f418",
    "fish": "\U0001f41f",
    "guitar": "\U0001f3b8",
    "hat": "\U0001f3a9",
    "helicopter": "\U0001f681",
    "horse": "\U0001f40e",
    "key": "\U0001f511",
    "leaf": "\U0001f341",
    "mushroom": "\U0001f344",
    "octopus": "\U0001f419",
    "owl": "\U0001f989",
    "pear": "\U0001f350",
    "pig": "\U0001f416",
    "rabbit": "\U0001f407",
    "rocket": "\U0001f680",
    "shirt": "\U0001f455",
    "shoe": "\U0001f460",
    "snail": "\U0001f40c",
    "tree": "\U0001f333",
    "turtle": "\U0001f422",
    "umbrella": "\u2602",
    "whale": "\U0001f40b",
}
HELD_OUT = 5  # one pair in so many
CONTRAST = 90  # from the middle tone to the darkest and lightest, of 255


@dataclass(frozen=True)
class Recolored:
    """Pictures of each thing in each color.

    Attributes:
        pictures: uint8 `(n, SIZE, SIZE, 3)`.
        colors: place in `COLORS`, int `(n,)`.
        things: place in `THINGS`, int `(n,)`.
    """

    pictures: np.ndarray
    colors: np.ndarray
    things: np.ndarray

    @property
    def captions(self) -> tuple[str, ...]:
        """What each shows, such as `"green dog"`."""
        colors, things = list(COLORS), list(THINGS)
        return tuple(
            f"{colors[c]} {things[t]}"
            for c, t in zip(self.colors, self.things, strict=True)
        )

    @property
    def held_out(self) -> np.ndarray:
        """Which pairs no model is trained on, bool `(n,)`.

        Of each color and of each thing about a fifth, chosen along the
        diagonals of the table.
        """
        return (self.colors + self.things) % HELD_OUT == 0


def load() -> Recolored:
    """Draws all pairs on white.

    Raises:
        DataError: if the font is not installed, or not one of bitmaps.
    """
    font = open_font(find_font())
    pictures = [
        shrink(recolor(character, color, font))
        for character in THINGS.values()
        for color in COLORS.values()
    ]
    things, colors = np.divmod(np.arange(len(pictures)), len(COLORS))
    return Recolored(np.stack(pictures), colors, things)


def recolor(
    character: str, color: tuple[int, int, int], font: ImageFont.FreeTypeFont
) -> np.ndarray:
    """Draws a character in shades of one color, on white.

    Dark parts become a dark shade, light parts a light one; the middle tone
    of the drawing gets the color itself.

    Args:
        character: an emoji.
        color: red, green and blue in `[0, 255]`.
        font: to draw with.

    Returns:
        uint8 `(CANVAS, CANVAS, 3)`.
    """
    white = draw(character, font, "white").astype(np.float32)
    black = draw(character, font, "black").astype(np.float32)
    opacity = 1 - (white - black).mean(axis=-1, keepdims=True) / 255
    luminance = white @ np.array([0.299, 0.587, 0.114], np.float32)
    inside = luminance[opacity[..., 0] > 0.9]
    tone = (luminance - np.median(inside)) / CONTRAST
    tone = tone.clip(-1, 1)[..., None]
    shade = np.array(color, np.float32)
    shaded = np.where(
        tone < 0,
        shade * (1 + 0.55 * tone),
        shade + (255 - shade) * 0.45 * tone,
    )
    mixed = opacity * shaded + (1 - opacity) * 255
    return np.rint(mixed).clip(0, 255).astype(np.uint8)
