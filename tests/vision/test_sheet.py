import numpy as np
import pytest
from PIL import Image

from keras_multi.errors import DataError, UsageError
from vision.sheet import GAP, augment, tile


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 255, (30, 40, 3), dtype="uint8")
        place = tmp_path / "in" / str(i % 2)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i}.png")
    return tmp_path / "in"


def test_a_sheet_shows_images_and_their_variants(folder, tmp_path):
    out = tmp_path / "sheet.png"
    result = augment(folder, out, ["flip"], images=3, columns=6, size=24)
    sheet = np.asarray(Image.open(out))
    assert result["size"] == [sheet.shape[1], sheet.shape[0]]
    assert sheet.shape == (3 * 24 + 2 * GAP, 7 * 24 + 6 * GAP, 3)
    step = 24 + GAP
    kept = flipped = 0
    for row in range(3):
        cells = [
            sheet[row * step :, column * step :][:24, :24]
            for column in range(7)
        ]
        for cell in cells[1:]:
            kept += np.array_equal(cell, cells[0])
            flipped += np.array_equal(cell, cells[0][:, ::-1])
    assert kept + flipped == 18
    assert min(kept, flipped) > 2
    assert {path.split("/")[-2] for path in result["images"]} == {"0", "1"}


def test_tiles_have_gaps():
    column = np.zeros((2, 4, 4, 3), "uint8")
    sheet = tile([column, column])
    assert sheet.shape == (8 + GAP, 8 + GAP, 3)
    assert (sheet == 0).all(axis=2).sum() == 4 * 16


def test_says_what_is_wrong(folder, tmp_path):
    out = tmp_path / "sheet.png"
    with pytest.raises(UsageError, match="unknown augmentation 'blur'"):
        augment(folder, out, ["blur"])
    with pytest.raises(UsageError, match="Received: 0"):
        augment(folder, out, ["flip"], columns=0)
    with pytest.raises(UsageError, match="magnitude"):
        augment(folder, out, ["rand-m99"], size=8)
    (folder / "0" / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        augment(folder, out, ["flip"])
    assert not out.exists()
