import numpy as np
import pytest
from PIL import Image

from keras_multi.errors import DataError, UsageError
from vision.images import find_images, prepare, read_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def pixels(path):
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def test_orientation_of_the_camera_is_applied(tmp_path):
    image = Image.new("RGB", (3, 2), RED)
    image.putpixel((0, 0), BLUE)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    image.save(tmp_path / "turned.png", exif=exif)
    got = pixels(tmp_path / "turned.png")
    assert got.shape == (3, 2, 3)
    assert tuple(got[0, 1]) == BLUE


def test_transparent_parts_lie_on_white(tmp_path):
    image = Image.new("RGBA", (2, 1), (*RED, 255))
    image.putpixel((1, 0), (*RED, 0))
    image.save(tmp_path / "alpha.png")
    assert pixels(tmp_path / "alpha.png").tolist() == [[[255, 0, 0], [255] * 3]]

    Image.new("LA", (1, 1), (0, 0)).save(tmp_path / "grey.png")
    assert pixels(tmp_path / "grey.png").tolist() == [[[255] * 3]]

    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.gif", transparency=1)
    assert pixels(tmp_path / "palette.gif").tolist() == [[[*RED], [255] * 3]]


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("1", 1, "png", (255, 255, 255)),
        ("L", 100, "bmp", (100, 100, 100)),
        ("I;16", 100 * 257, "png", (100, 100, 100)),
        ("CMYK", (0, 255, 255, 0), "tiff", (255, 0, 0)),
        ("CMYK", (0, 0, 0, 0), "jpg", (255, 255, 255)),
        ("RGB", (1, 2, 3), "webp", None),
    ],
)
def test_every_mode_becomes_colour(mode, colour, suffix, expected, tmp_path):
    path = tmp_path / f"image.{suffix}"
    Image.new(mode, (8, 4), colour).save(path)
    got = pixels(path)
    assert got.shape == (4, 8, 3)
    if expected is not None:
        np.testing.assert_allclose(got[0, 0], expected, atol=2)


def test_an_animation_gives_its_first_frame(tmp_path):
    first, second = Image.new("RGB", (2, 2), RED), Image.new("RGB", (2, 2))
    path = tmp_path / "animation.gif"
    first.save(path, save_all=True, append_images=[second])
    assert tuple(pixels(path)[0, 0]) == RED


def test_an_address_is_fetched(tmp_path, serve_file):
    Image.new("RGB", (5, 4), BLUE).save(tmp_path / "blue.png")
    url = serve_file(tmp_path)
    assert pixels(f"{url}/blue.png").shape == (4, 5, 3)
    with pytest.raises(DataError, match=r"none\.png cannot be read"):
        read_image(f"{url}/none.png")


def test_what_is_no_image_is_named(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"photo\.jpg is no image"):
        read_image(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"photo\.jpg is no image"):
        read_image(path)
    with pytest.raises(DataError, match=r"none\.png cannot be read: No such"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_image(tmp_path)


def test_what_is_damaged_is_named(tmp_path):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    for suffix in ("jpg", "png"):
        path = tmp_path / f"noise.{suffix}"
        noise.save(path)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(DataError, match=rf"noise\.{suffix} is damaged"):
            read_image(path)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    Image.new("1", (12_000, 12_000)).save(path)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("loaded"))
    with pytest.raises(DataError, match=r"bomb\.png has 12000 x 12000 pixels"):
        read_image(path)


def test_the_middle_is_cut_out():
    image = Image.new("RGB", (32, 16), RED)
    image.paste(BLUE, (9, 1, 23, 15))  # 0.875 of 16 is 14
    assert np.all(prepare(image, 14) == BLUE)
    assert np.all(prepare(image, 7)[1:-1, 1:-1] == BLUE)
    assert prepare(image, 28).shape == (28, 28, 3)
    assert prepare(image, 7, channels=1).shape == (7, 7, 1)


def test_files_are_found(tmp_path):
    (tmp_path / "inner").mkdir()
    for name in ("b.PNG", "inner/a.jpeg"):
        Image.new("L", (1, 1)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    url = "https://example.org/cat.png"
    assert find_images([url, tmp_path, tmp_path / "notes.txt"]) == [
        url,
        str(tmp_path / "b.PNG"),
        str(tmp_path / "inner/a.jpeg"),
        str(tmp_path / "notes.txt"),
    ]
    with pytest.raises(UsageError, match=r"no file or folder .*none\.png"):
        find_images([tmp_path / "none.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no image in the folder"):
        find_images([tmp_path / "empty"])
