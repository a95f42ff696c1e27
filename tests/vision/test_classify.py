import json

import numpy as np
import pytest
from keras import ops
from PIL import Image
from typer.testing import CliRunner

from keras_multi import backend
from keras_multi.errors import DataError, UsageError
from vision.classify import best, classify
from vision.cli import app

from .classifier_case import NAMES, make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five photos of pure noise and a file that is none, and a model."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(5):
        # The part that is seen has eight pixels in height and width.
        noise = rng.integers(0, 256, (10 + i, 20, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    make_model().save(folder / "model.keras")
    return folder


def test_equals_the_model_on_each_image(folder):
    result = classify([folder], str(folder), top=2, batch_size=3)
    assert result["backend"] == backend.name()
    assert len(result["images"]) == 5
    model = make_model()
    for entry in result["images"]:
        image = Image.open(entry["image"])
        side = 0.875 * image.height
        left, top = (20 - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        pixels = np.asarray(image.resize((8, 8), Image.BICUBIC, box), "f4")
        logits = ops.convert_to_numpy(model(pixels[None]))[0].astype("f8")
        odds = np.exp(logits - logits.max())
        first, second = np.argsort(-odds)[:2]
        got = entry["predictions"]
        assert [p["index"] for p in got] == [first, second]
        assert [p["class"] for p in got] == [NAMES[first], NAMES[second]]
        np.testing.assert_allclose(
            [p["probability"] for p in got],
            [odds[first] / odds.sum(), odds[second] / odds.sum()],
            rtol=1e-4,
        )


def test_the_best_come_first():
    got = best(np.array([0.1, 0.4, 0.1, 0.4]), None, 3)
    assert [p["class"] for p in got] == ["1", "3", "0"]


def test_damaged_files_are_named_or_left_out(folder, tmp_path, capsys):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    with pytest.raises(DataError, match=r"bad\.png is no image"):
        classify([bad, folder / "0.png"], str(folder))
    result = classify([bad, folder / "0.png"], str(folder), skip_damaged=True)
    assert len(result["images"]) == 1
    assert "skipped: " in capsys.readouterr().err
    with pytest.raises(UsageError, match="no image could be read"):
        classify([bad], str(folder), skip_damaged=True)
    with pytest.raises(UsageError, match="top must be at least 1"):
        classify([bad], top=0)


def test_the_command_line(folder):
    run = CliRunner().invoke
    photos = [str(folder / f"{i}.png") for i in range(2)]
    options = ["--preset", str(folder), "--top", "1"]
    result = run(app, ["classify", *photos, *options, "--json"])
    assert result.exit_code == 0, result.exception
    report = json.loads(result.stdout)
    assert [entry["image"] for entry in report["images"]] == photos
    (prediction,) = report["images"][0]["predictions"]
    table = run(app, ["classify", *photos, *options]).stdout
    assert prediction["class"] in table
    assert f"{prediction['probability']:.1%}" in table
