import numpy as np
from PIL import Image

from diffusion import data, emoji
from diffusion.evaluate import (
    VISIBLE,
    far_apart,
    generate,
    nearest,
    write_sheet,
)
from tests.diffusion import tiny


def drawings(count):
    rng = np.random.default_rng(0)
    shape = (count, emoji.SIZE, emoji.SIZE, 3)
    return rng.integers(0, 256, shape).astype(np.uint8)


def test_finds_the_nearest_of_all_variants():
    known = drawings(3)
    rng = np.random.default_rng(1)
    shown = np.stack([data.variant(known, 1)[2], data.variant(known, 3)[0]])
    noise = rng.integers(-20, 21, shown.shape)
    pictures = np.clip(shown + noise, 0, 255).astype(np.uint8)
    found = nearest(pictures, known)
    assert found.drawings.tolist() == [2, 0]
    assert found.variants.tolist() == [1, 3]
    errors = (pictures.astype(float) - shown) ** 2
    expected = 10 * np.log10(255**2 / errors.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(found.psnr, expected, rtol=1e-5)
    assert nearest(shown, known).psnr.tolist() == [np.inf, np.inf]


def test_pictures_differ_by_what_is_seen():
    level = 255 * 10 ** (-VISIBLE / 20)
    pictures = np.zeros((3, 2, 8, 8, 3), np.uint8)
    pictures[1] = np.floor(level)
    pictures[2, 0] = np.ceil(level)
    pictures[2, 1] = 2 * np.ceil(level)
    expected = [[False, False], [True, True], [False, True]]  # 01, 02, 12
    np.testing.assert_array_equal(far_apart(pictures), expected)


def test_generates_in_batches_of_one_size():
    prompts = ["red", "green", "apple"] * 22
    made = generate(tiny.pipeline(), prompts, 2, 2.0, seed=5)
    assert made.shape == (66, 16, 16, 3)
    again = tiny.pipeline().text_to_image(
        [*prompts[64:], *[""] * 62],
        num_steps=2,
        guidance_scale=2.0,
        seed=6,
        scheduler="ddim",
    )
    np.testing.assert_array_equal(made[64:], again[:2])


def test_the_sheet_frames_what_is_wrong(tmp_path):
    pictures = np.full((18, 8, 8, 3), 100, np.uint8)
    path = tmp_path / "sheet.png"
    write_sheet(path, pictures, [True] * 17 + [False])
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGB"))
    assert sheet.shape == (24, 16 * 12, 3)
    assert (sheet[2:10, 2:10] == 100).all()
    red = (sheet == (230, 0, 0)).all(axis=-1)
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max()) == (12, 23)
    assert (columns.min(), columns.max()) == (12, 23)
