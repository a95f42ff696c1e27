import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffusion import StableDiffusion, train
from diffusion.cli import app
from diffusion.evaluate import evaluate
from diffusion.picture import settings_of
from diffusion.recipe import Recipe
from keras_multi.errors import UsageError
from tests import precision_case
from tests.diffusion import picture_case

pytestmark = pytest.mark.slow

TINY = {
    "vae_channels": (8, 8),
    "vae_epochs": 1,
    "decoder_epochs": 1,
    "channels": (8, 16),
    "num_heads": 2,
    "text_dim": 16,
    "epochs": 2,
    "batch_size": 32,
    "judge_epochs": 1,
}


def run(*arguments):
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    arguments = ["train", "--output", str(folder), "--json"]
    for name, value in TINY.items():
        value = list(value) if isinstance(value, tuple) else value
        arguments += ["--set", f"{name}={value}"]
    with pytest.MonkeyPatch.context() as patch:
        picture_case.use(patch)
        yield folder, json.loads(run(*arguments))


def test_trains_all_parts_and_measures_them(trained):
    folder, result = trained
    assert result["pictures"] == 10
    assert result["captions"] == 3 + 8
    assert result["pairs"] == 1
    assert result["epochs"] == 2
    test = result["test"]
    assert set(test) == {
        *("nearest", "psnr", "color", "thing", "both"),
        *("differ", "distinct"),
    }
    history = json.loads((folder / "history.json").read_text())["metrics"]
    assert history["loss"][1] < history["loss"][0]
    assert json.loads((folder / "metrics.json").read_text())["test"] == test
    assert not list(folder.glob("checkpoint*"))
    assert (folder / "sheet.png").stat().st_size > 0

    again = evaluate(folder, progress=False)
    assert again["test"] == pytest.approx(test)
    wrong = round((1 - test["nearest"]) * result["captions"])
    assert len(again["failures"]["training"]) == wrong
    assert json.loads(run("evaluate", str(folder), "--json"))["test"] == test


def test_goes_on_from_another_run(trained, tmp_path, monkeypatch):
    folder, _ = trained
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path / "cache"))
    precision_case.use(monkeypatch, 2.0)
    recipe = Recipe.of(
        **TINY | {"epochs": 1}, start=str(folder), precision="auto"
    )
    train.train(recipe, tmp_path, progress=False)
    saved = json.loads((tmp_path / "recipe.json").read_text())
    assert saved["precision"] == "float32"
    before, after = (
        json.loads((path / "history.json").read_text())["metrics"]["loss"]
        for path in (folder, tmp_path)
    )
    assert after[0] < before[0]
    with pytest.raises(UsageError, match="there is no"):
        train.train(Recipe.of(start="nowhere"), tmp_path, progress=False)


def test_makes_pictures_and_makes_them_again(trained, tmp_path):
    folder, _ = trained
    out = tmp_path / "made.png"
    options = ["--preset", str(folder), "--seed", "3", "--steps", "2"]
    result = json.loads(
        run(
            *("generate", "red bar", *options, "--batch-size", "3"),
            *("--output", str(out), "--json"),
        )
    )
    files = [str(tmp_path / f"made-{i}.png") for i in (1, 2, 3)]
    assert result["files"] == files
    settings = settings_of(files[1])
    assert (settings["prompt"], settings["number"]) == (["red bar"], 1)
    # What suits the preset.
    assert (settings["guidance_scale"], settings["candidates"]) == (2.0, 4)
    run("generate", "--from", files[1], "--output", str(out))
    assert out.read_bytes() == (tmp_path / "made-2.png").read_bytes()

    pipeline = StableDiffusion.from_preset(folder)
    pictures = pipeline.text_to_image(
        "red bar",
        batch_size=3,
        num_steps=2,
        guidance_scale=2.0,
        seed=3,
        scheduler="ddim",
        candidates=4,
    )
    run("generate", "--from", files[1], "--output", str(out), "--grid")
    grid = settings_of(out)
    assert (grid["grid"], grid["seed"]) == (True, 3)
    with Image.open(out) as image:
        shown = np.asarray(image)
    np.testing.assert_array_equal(shown, np.concatenate(pictures, axis=1))
    with Image.open(files[0]) as image:
        np.testing.assert_array_equal(np.asarray(image), pictures[0])


def test_changes_a_picture(trained, tmp_path):
    folder, _ = trained
    options = ["--preset", str(folder), "--seed", "3", "--steps", "2"]
    first, second = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    run("generate", "red bar", *options, "--output", first)
    run(
        *("generate", "blue bar", *options, "--output", second),
        *("--image", first, "--strength", "0.5"),
    )
    assert settings_of(second)["image"] == first
    with pytest.raises(UsageError, match="image"):
        run("generate", "bar", *options, "--strength", "0.5")
    with pytest.raises(UsageError, match=r"\.png"):
        run("generate", "bar", *options, "--output", "a.jpg")
    with pytest.raises(UsageError, match="prompt"):
        run("generate")


def test_a_run_that_was_killed_ends_as_if_it_were_not(tmp_path, monkeypatch):
    picture_case.use(monkeypatch)
    recipe = Recipe.of(**TINY)
    whole = train.train(recipe, tmp_path / "whole", progress=False)
    real, calls = train.Denoising.compute_loss, []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:  # of two steps an epoch
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(train.Denoising, "compute_loss", dying)
        with pytest.raises(KeyboardInterrupt):
            train.train(recipe, tmp_path / "killed", progress=False)
    assert not (tmp_path / "killed" / "metrics.json").exists()
    resumed = train.train(recipe, tmp_path / "killed", progress=False)
    assert resumed["test"] == whole["test"]
    names = [path.name for path in (tmp_path / "whole").iterdir()]
    for path in (tmp_path / "whole").rglob("*.safetensors"):
        twin = tmp_path / "killed" / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == twin.read_bytes()
    assert "unet" in names


def test_recipes_are_checked():
    for fields in (
        {"channels": (10, 16)},
        {"attention": (True,)},
        {"num_heads": 3},
        {"epochs": 0},
        {"drop_caption": 1.0},
        {"precision": "int8"},
    ):
        with pytest.raises(UsageError, match=next(iter(fields))):
            Recipe.of(**fields)
