"""Pictures of one prompt that differ more than at random."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffusion import generate
from diffusion.candidates import choose, preview
from diffusion.cli import app
from diffusion.options import Noise
from diffusion.picture import settings_of
from diffusion.schedulers import NoiseSchedule, by_name
from diffusion.stable_diffusion import StableDiffusion
from tests.diffusion.tiny import picture, pipeline

RNG = np.random.default_rng(0)
PROMPTS = ["red apple", "green"]
FEW = {"num_steps": 4, "seed": 5}


@pytest.fixture(scope="module")
def model():
    return pipeline()


def test_each_further_noise_is_furthest_from_those_chosen():
    estimates = RNG.normal(size=(3, 8, 2, 2)).astype("float32")
    chosen = choose(estimates, prompts=2)
    assert [chosen[0], chosen[4]] == [(0, 0), (0, 4)]
    for own in (chosen[:4], chosen[4:]):
        pictures = range(own[0][1], own[0][1] + 4)
        for k in range(1, 4):
            least = {
                (i, j): min(
                    np.linalg.norm(estimates[i, j] - estimates[other])
                    for other in own[:k]
                )
                for i in range(3)
                for j in pictures
            }
            assert own[k] == max(least, key=least.__getitem__)


def test_noises_that_are_alike_are_all_taken():
    chosen = choose(np.zeros((2, 6, 1)), prompts=2)
    assert len(set(chosen)) == 6


@pytest.mark.parametrize("name", ["ddim", "pndm", "euler", "lcm"])
def test_a_preview_ends_in_the_data_as_they_are_estimated(name):
    schedule = NoiseSchedule(prediction="v", spacing="trailing")
    plan = by_name(name, schedule).plan(20)
    short = preview(schedule, plan)
    times = short.timesteps.astype(int)
    assert times.tolist() == sorted(set(plan.timesteps.round()))[:-4:-1]
    sample = RNG.normal(size=5)
    outputs = RNG.normal(size=(3, 5))
    result = sample
    for i, output in enumerate(outputs):
        estimate = short.estimate_sample[i] * result
        estimate = estimate + short.estimate_output[i] * output
        result = short.keep[i] * result + short.estimates[i, 0] * estimate
    # By noise and data in turn (Song et al. 2021, equation 12).
    for i, (t, output) in enumerate(zip(times, outputs, strict=True)):
        signal = np.sqrt(schedule.alphas[t])
        spread = np.sqrt(1 - schedule.alphas[t])
        data = signal * sample - spread * output
        noise = spread * sample + signal * output
        if i < 2:
            after = schedule.alphas[times[i + 1]]
            sample = np.sqrt(after) * data + np.sqrt(1 - after) * noise
    np.testing.assert_allclose(result, data, rtol=1e-4, atol=1e-5)


def test_candidates_are_noises_like_others(model):
    plain = model.text_to_image(PROMPTS, batch_size=2, **FEW)
    chosen = model.text_to_image(PROMPTS, batch_size=2, candidates=3, **FEW)
    np.testing.assert_array_equal(chosen[::2], plain[::2])
    # Of the pictures of all noises, which the model does not turn around,
    # the one that is furthest from the first.
    context = model.encode_text(PROMPTS)
    made = np.stack(
        [
            model.generate_image(
                context,
                batch_size=2,
                noise=Noise(5, 4, (4, 4, 3), candidate).draw(),
                **FEW,
            )
            for candidate in range(3)
        ]
    )
    for first in (0, 2):
        own = made[:, first : first + 2].reshape(6, -1).astype(float)
        furthest = np.square(own - own[0]).sum(axis=1).argmax()
        np.testing.assert_array_equal(
            chosen[first + 1].reshape(-1), own[furthest]
        )
    assert np.any(chosen[1::2] != plain[1::2])


def test_one_picture_of_each_has_no_choice(model):
    plain = model.text_to_image(PROMPTS, **FEW)
    same = model.text_to_image(PROMPTS, candidates=3, **FEW)
    np.testing.assert_array_equal(same, plain)


@pytest.mark.slow
def test_pictures_that_are_changed_have_candidates_too(model):
    options = FEW | {"scheduler": "euler_ancestral", "batch_size": 3}
    mask = np.zeros((16, 16), "bool")
    mask[:, 5:] = True
    for call, given in (
        (model.image_to_image, (picture(), "red")),
        (model.inpaint, (picture(), mask, "red")),
    ):
        plain = call(*given, strength=0.5, **options)
        chosen = call(*given, strength=0.5, candidates=4, **options)
        np.testing.assert_array_equal(chosen[0], plain[0])
        assert np.any(chosen != plain)
    kept = np.stack([picture()[~mask]] * 3)
    np.testing.assert_array_equal(chosen[:, ~mask], kept)


def test_a_file_tells_how_to_make_one_picture_again(
    tmp_path, monkeypatch, model
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(StableDiffusion, "from_preset", lambda *_, **__: model)

    def command(*words):
        result = CliRunner().invoke(app, ["generate", *words, "--steps", "2"])
        assert result.exit_code == 0, result.output
        return [pixels(name) for name in result.output.split()]

    made = command("red", "--batch-size", "3", "--seed", "5")
    assert settings_of("red-2.png")["candidates"] == 4
    options = generate.SMALL | {"num_steps": 2, "batch_size": 3, "seed": 5}
    expected = model.text_to_image("red", **options)
    np.testing.assert_array_equal(made, expected)
    (again,) = command("--from", "red-2.png", "--output", "again.png")
    np.testing.assert_array_equal(again, made[1])
    # A file of before there were candidates was made without.
    settings = generate.Settings.of(settings_of("red-2.png"))
    old = dataclasses.replace(settings, candidates=1)
    expected = generate.make(old, progress=False)[1]
    kept = settings_of("red-2.png")
    del kept["candidates"]
    generate.picture.save("old.png", expected, kept)
    (again,) = command("--from", "old.png", "--output", "again.png")
    np.testing.assert_array_equal(again, expected)
    assert np.any(again != made[1])


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)
