import gzip
from pathlib import Path

import keras
import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image, ImageFont

from keras_multi.data import emoji_font
from keras_multi.errors import DataError
from vision import cifar, emoji, mnist
from vision.data import examples, load, stratified
from vision.folder import load as load_folder

RED, BLUE = (250, 10, 10), (10, 10, 250)


def write(folder, colors, count=5, size=(20, 16)):
    """A folder with one folder of images for each color."""
    for name, color in colors.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", size, color)
            image.save(folder / name / f"{i}.png")
    return folder


def test_a_folder_gives_its_classes_in_order(tmp_path):
    write(tmp_path, {"red": RED, "blue": BLUE})
    (tmp_path / "red" / ".hidden").write_text("no image")
    (tmp_path / ".cache").mkdir()
    split = load(str(tmp_path), size=8)
    assert split.class_names == ("blue", "red")
    assert len(split.train) == 8
    assert len(split.test) == 2
    for part in (split.train, split.test):
        assert part.images.shape[1:] == (8, 8, 3)
        expected = np.array([BLUE, RED])[part.labels]
        np.testing.assert_array_equal(part.images[:, 3, 3], expected)


def test_images_smaller_than_wanted_are_enlarged(tmp_path):
    write(tmp_path, {"red": RED, "blue": BLUE}, size=(3, 2))
    images, _, _ = load_folder(tmp_path, 8)
    assert images.shape == (10, 8, 8, 3)


def test_damaged_files_are_named_and_refused_or_skipped(tmp_path, capsys):
    write(tmp_path, {"red": RED, "blue": BLUE})
    broken = tmp_path / "red" / "broken.jpg"
    image = Image.new("RGB", (200, 200), RED)
    image.save(broken, quality=95)
    broken.write_bytes(broken.read_bytes()[:400])
    (tmp_path / "blue" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"2 files.*notes.txt.*broken.jpg"):
        load_folder(tmp_path, 8)
    images, labels, _ = load_folder(tmp_path, 8, skip_damaged=True)
    assert len(images) == 10
    assert labels.tolist() == [0] * 5 + [1] * 5
    assert "broken.jpg" in capsys.readouterr().err


def test_says_what_is_wrong_with_a_folder(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        load(str(tmp_path / "none"), 8)
    write(tmp_path, {"red": RED})
    with pytest.raises(DataError, match="at least two folders"):
        load(str(tmp_path), 8)
    (tmp_path / "blue").mkdir()
    with pytest.raises(DataError, match="'blue' is empty"):
        load(str(tmp_path), 8)
    (tmp_path / "blue" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="no file of class 'blue'"):
        load_folder(tmp_path, 8, skip_damaged=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "blue" / "a.png")
    with pytest.raises(DataError, match="one image only"):
        load(str(tmp_path), 8)


def test_says_what_is_wrong_with_arrays():
    images, labels = np.zeros((4, 6, 6, 3)), np.array([0, 1, 0, 1])
    names = ["cat", "dog"]
    images[1] = 254.6
    assert examples(images, labels, names).images[1, 0, 0, 0] == 255
    with pytest.raises(DataError, match="shape"):
        examples(images[..., 0], labels, names)
    with pytest.raises(DataError, match="as many integer labels"):
        examples(images, labels[:3], names)
    with pytest.raises(DataError, match=r"labels must lie in \[0, 2\).* 7"):
        examples(images, np.array([0, 1, 7, 1]), names)
    with pytest.raises(DataError, match="'dog' has no images"):
        examples(images, labels * 0, names)
    with pytest.raises(DataError, match="two classes"):
        examples(images, labels * 0, ["cat"])
    for value in (np.nan, 256, -1):
        images[2, 0, 0, 0] = value
        with pytest.raises(DataError, match="number 2"):
            examples(images, labels, names)


def test_the_split_keeps_the_share_of_each_class():
    labels = np.repeat([0, 1, 2], [50, 10, 2])
    drawn = stratified(labels, 0.2)
    assert np.bincount(labels[drawn]).tolist() == [10, 2, 1]
    np.testing.assert_array_equal(drawn, stratified(labels, 0.2))


def digits(count=20):
    """Packed lines as in the wheel: the pixels of each are its digit's."""
    labels = np.arange(count) % 10
    values = np.repeat(labels[:, None] * 20, 784, axis=1)
    lines = np.concatenate([values, labels[:, None]], axis=1)
    text = "\n".join(",".join(map(str, line)) for line in lines)
    return gzip.compress(text.encode())


def test_digits_are_split_at_random_and_leave_some_to_stop_early(monkeypatch):
    monkeypatch.setattr(
        type(mnist.FILES), "files", lambda *_, **__: {"a": digits(100)}
    )
    split = load("mnist-5k", 28, validation=True)
    assert split.class_names == tuple("0123456789")
    assert [len(split.train), len(split.test)] == [70, 20]
    assert len(split.validation) == 10
    for part in (split.train, split.test, split.validation):
        np.testing.assert_array_equal(
            part.images[:, 14, 14], part.labels[:, None].repeat(3, 1) * 20
        )
    order = np.random.default_rng(42).permutation(100)
    np.testing.assert_array_equal(split.test.labels, order[80:] % 10)
    assert load("mnist-5k", 14).test.images.shape == (20, 14, 14, 3)


def test_photographs_come_through_keras(monkeypatch):
    rng = np.random.default_rng(0)
    train, test = (
        (
            rng.integers(0, 256, (n, 32, 32, 3), dtype="uint8"),
            (np.arange(n) % 10)[:, None].astype("uint8"),
        )
        for n in (30, 10)
    )
    monkeypatch.setattr(
        keras.datasets.cifar10, "load_data", lambda: (train, test)
    )
    split = load("cifar10", 32)
    np.testing.assert_array_equal(split.train.images, train[0])
    np.testing.assert_array_equal(split.test.labels, test[1][:, 0])
    assert split.class_names[3] == "cat"

    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", fail)
    with pytest.raises(DataError, match="cifar10: URL fetch failure"):
        cifar.load(32)


def test_each_emoji_has_one_category():
    codes = [
        ord(character)
        for ranges in emoji.CATEGORIES.values()
        for character in emoji_font.assigned(ranges)
    ]
    assert len(codes) == len(set(codes)) > 400
    assert ord("\N{DOG}") in codes


def test_emoji_are_drawn_on_white_if_the_font_has_them(monkeypatch):
    path = Path(font_manager.findfont("DejaVu Sans"))
    monkeypatch.setattr(emoji_font, "FONT", path.name)
    monkeypatch.setattr(
        font_manager, "findSystemFonts", lambda: ["/none.ttf", str(path)]
    )
    ranges = {"letters": ((65, 70),), "digits": ((48, 50), (0x1F955, 0x1F955))}
    monkeypatch.setattr(emoji, "CATEGORIES", ranges)
    images, labels, names = emoji.load(32)
    assert images.shape == (9, 32, 32, 3)
    assert labels.tolist() == [0] * 6 + [1] * 3  # no carrot in the font
    assert names == ("letters", "digits")
    assert (images[:, 0, 0] == 255).all()
    assert (images.min(axis=(1, 2, 3)) < 100).all()
    font = ImageFont.truetype(path, emoji_font.PIXELS)
    size = emoji_font.CANVAS
    assert emoji_font.draw("A", font).shape == (size, size, 3)


def test_says_where_the_font_of_emoji_is_to_be_had(monkeypatch, tmp_path):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    with pytest.raises(DataError, match="fonts-noto-color-emoji"):
        emoji.load(32)
    (tmp_path / "a.ttf").write_bytes(b"no font")
    with pytest.raises(DataError, match="bitmaps"):
        emoji_font.open_font(tmp_path / "a.ttf")
