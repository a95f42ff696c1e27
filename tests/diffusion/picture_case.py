"""A few shapes in colors in the place of the emoji."""

import numpy as np

from diffusion import data, emoji, recolored

SHAPES = {
    "bar": np.s_[10:20, 10:40],
    "pole": np.s_[10:40, 20:28],
    "block": np.s_[8:40, 8:40],
}
COLORS = {"red": (220, 30, 40), "green": (40, 160, 60), "blue": (30, 90, 230)}


def pairs():
    pictures = np.full((9, emoji.SIZE, emoji.SIZE, 3), 255, np.uint8)
    colors, things = np.arange(9) % 3, np.arange(9) // 3
    for picture, color, thing in zip(pictures, colors, things, strict=True):
        picture[list(SHAPES.values())[thing]] = list(COLORS.values())[color]
    return recolored.Recolored(pictures, colors, things)


def use(monkeypatch):
    """Makes the shapes what is trained on."""
    monkeypatch.setattr(recolored, "THINGS", SHAPES)
    monkeypatch.setattr(recolored, "COLORS", COLORS)
    monkeypatch.setattr(recolored, "load", pairs)
    drawn = pairs().pictures[2:4].transpose(0, 2, 1, 3)
    captions = (("tall pillar", "pillar"), ("cube",))
    monkeypatch.setattr(emoji, "load", lambda: (drawn, captions))
    assert len(data.load().train) == 2 + 8
