"""The pictures to learn from: emoji, things in colors, their places."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from PIL import ImageFont

from diffusion import data, emoji, recolored
from keras_multi.data import emoji_font


@pytest.fixture
def letters(monkeypatch):
    """Draws letters, from a font that is always there."""
    path = Path(font_manager.findfont("DejaVu Sans"))
    monkeypatch.setattr(emoji_font, "FONT", path.name)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path)])
    monkeypatch.setattr(emoji, "RANGES", ((65, 70), (0x1F955, 0x1F955)))
    monkeypatch.setattr(emoji, "NEAREST", 1e-6)
    monkeypatch.setattr(emoji, "LEFT_OUT", "b")
    monkeypatch.setattr(recolored, "THINGS", {"letter": "A", "digit": "1"})
    return ImageFont.truetype(path, emoji_font.PIXELS)


def test_draws_what_the_font_has_with_its_name(letters):
    drawings, captions = emoji.load()
    assert drawings.shape == (5, emoji.SIZE, emoji.SIZE, 3)
    assert drawings.dtype == np.uint8
    assert [own[0] for own in captions] == [
        f"latin capital letter {letter}" for letter in "acdef"
    ]
    assert captions[0] == ("latin capital letter a", "a")


def test_near_twins_are_left_out():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (4, 4, 3))
    near = first.clip(0, 250) + 2
    other = 255 - first
    pictures = np.stack([first, near, other, first]).astype(np.uint8)
    assert emoji.without_twins(pictures, 0.01) == [0, 2]
    # An exact copy lies at 0, a change of 51 of 255 levels at 0.16.
    gray = np.full((4, 4, 3), 100, np.uint8)
    both = np.stack([gray, gray + 51])
    assert emoji.without_twins(both, 0.1599) == [0, 1]
    assert emoji.without_twins(both, 0.1601) == [0]


def test_captions_are_the_name_its_head_and_the_noun():
    names = [
        "running shirt with sash",
        "t shirt",
        "green apple",
        *("face one", "two face", "big face", "sad face", "mad face"),
    ]
    captions = emoji.captions([tuple(name.split()) for name in names])
    assert captions[0] == (
        "running shirt with sash",
        "running shirt",
        "shirt",
    )
    assert captions[1] == ("t shirt", "shirt")
    assert captions[2] == ("green apple", "apple")
    assert captions[4] == ("two face",)  # four pictures end in a face
    assert emoji.words("JACK-O-LANTERN") == ("jack", "o", "lantern")


def test_a_thing_takes_the_color_and_keeps_its_shape(letters):
    drawn = recolored.recolor("A", (200, 30, 60), letters)
    black = emoji_font.draw("A", letters)
    inside, outside = black.max(axis=-1) == 0, black.min(axis=-1) == 255
    assert (drawn[inside] == (200, 30, 60)).all()
    assert (drawn[outside] == 255).all()


def test_a_fifth_of_the_pairs_is_held_out_of_all_colors_and_things():
    things, colors = np.divmod(np.arange(320), 8)
    pairs = recolored.Recolored(np.zeros((320, 1, 1, 3)), colors, things)
    out = pairs.held_out
    assert out.sum() == 64
    assert (np.bincount(colors[out]) == 8).all()
    assert set(np.bincount(things[out])) == {1, 2}
    assert pairs.captions[0] == "red airplane"
    assert len(set(pairs.captions)) == 320


def test_no_caption_of_the_training_is_one_that_is_held_out(letters):
    split = data.load()
    assert len(split.train) == 5 + 16 - 3
    trained = {text for own in split.train.captions for text in own}
    assert not trained & {own[0] for own in split.held_out.captions}
    assert "letter" in split.train.words
    few = data.load(3).train
    assert few.captions[0] == split.train.captions[0]
    assert few.captions[-1] == split.train.captions[-1]
    assert len(few.drawings) == 3


def test_variants_are_all_places():
    drawings = np.random.default_rng(0).integers(
        0, 255, (2, emoji.SIZE, emoji.SIZE, 3), np.uint8
    )
    shown = [data.variant(drawings, i)[1] for i in range(data.NUM_VARIANTS)]
    assert len({picture.tobytes() for picture in shown}) == 4
    for picture, (top, left) in zip(shown, data.PLACES, strict=True):
        assert picture.shape == (data.SIZE, data.SIZE, 3)
        rows, columns = np.nonzero((picture < 255).any(axis=-1))
        assert (rows.min(), columns.min()) == (top, left)
        cut = picture[top : top + emoji.SIZE, left : left + emoji.SIZE]
        np.testing.assert_array_equal(cut, drawings[1])
    mirrored = data.place(drawings, 3, 5, mirrored=True)
    np.testing.assert_array_equal(mirrored[:, 3:51, 5:53], drawings[:, :, ::-1])
