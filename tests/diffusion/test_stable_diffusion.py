import weakref

import numpy as np
import pytest
from keras import ops

from diffusion.interpolate import slerp
from diffusion.options import Noise
from diffusion.schedulers import DDIM, NoiseSchedule
from keras_multi.errors import KerasMultiError, UsageError
from tests.diffusion import tiny
from tests.diffusion.tiny import picture, pipeline

PROMPT = "a red apple"
FEW = {"num_steps": 4, "seed": 5}


@pytest.fixture(scope="module")
def model():
    return pipeline()


def test_a_prompt_and_a_batch_of_three_give_three_pictures(model):
    pictures = model.text_to_image(PROMPT, batch_size=3, **FEW)
    assert pictures.shape == (3, 16, 16, 3)
    assert pictures.dtype == "uint8"
    again = model.text_to_image(PROMPT, batch_size=3, **FEW)
    np.testing.assert_array_equal(pictures, again)
    assert len({p.tobytes() for p in pictures}) == 3
    # Each is what it is alone.
    alone = model.text_to_image(PROMPT, **FEW)
    np.testing.assert_array_equal(alone[0], pictures[0])


@pytest.mark.slow
def test_each_setting_counts(model):
    first = model.text_to_image(PROMPT, **FEW)
    for other in (
        model.text_to_image(PROMPT, num_steps=4, seed=6),
        model.text_to_image(PROMPT, num_steps=5, seed=5),
        model.text_to_image("green apple", **FEW),
        model.text_to_image(PROMPT, "green apple", **FEW),
        model.text_to_image(PROMPT, guidance_scale=1, **FEW),
        model.text_to_image(PROMPT, scheduler="euler_ancestral", **FEW),
        model.text_to_image(PROMPT, num_steps=4),
    ):
        assert np.any(other != first)


def test_pictures_are_those_of_the_sampler_written_out(model):
    """DDIM's two steps with the closed forms of the tiny models."""
    schedule = NoiseSchedule()
    result = model.text_to_image(
        PROMPT, num_steps=2, seed=5, guidance_scale=3.0, scheduler="ddim"
    )
    x = Noise(5, 1, (4, 4, 3)).draw().astype("float64")
    means = [
        np.stack([ids, np.arange(6)]).mean()
        for ids in ([1, 2, 2, 2, 2, 2], [1, 0, 3, 5, 2, 2])
    ]
    alphas = schedule.alphas[[501, 1]]
    for t, a, after in zip(
        (501, 1), alphas, (alphas[1], schedule.alphas[0]), strict=True
    ):
        plain, prompted = (0.9 * x + 0.02 * m + 1e-5 * t for m in means)
        noise = plain + 3.0 * (prompted - plain)
        clean = (x - np.sqrt(1 - a) * noise) / np.sqrt(a)
        x = np.sqrt(after) * clean + np.sqrt(1 - after) * noise
    expected = np.clip((x / 4 + 1) * 127.5, 0, 255)
    expected = expected.repeat(4, axis=1).repeat(4, axis=2)
    assert np.mean((expected > 0) & (expected < 255)) > 0.2
    np.testing.assert_allclose(result, expected, atol=1)


@pytest.mark.slow
def test_several_prompts(model):
    prompts = ["red", "green apple"]
    together = model.text_to_image(prompts, batch_size=2, **FEW)
    alone = model.text_to_image("red", batch_size=2, **FEW)
    np.testing.assert_array_equal(together[:2], alone)
    negatives = model.text_to_image(prompts, ["green", ""], **FEW)
    assert negatives.shape == (2, 16, 16, 3)


@pytest.mark.slow
def test_pictures_of_contexts_and_noise(model):
    context, empty = model.encode_text(PROMPT), model.encode_text("")
    noise = Noise(5, 1, (4, 4, 3)).draw()
    expected = model.text_to_image(PROMPT, **FEW)
    for result in (
        model.generate_image(context, empty, **FEW),
        model.generate_image(context, num_steps=4, noise=noise),
        model.generate_image(ops.convert_to_numpy(context), **FEW),
    ):
        np.testing.assert_array_equal(result, expected)
    long = model.encode_text("red " * 5)
    assert model.generate_image(long, **FEW).shape == (1, 16, 16, 3)
    ways = slerp(noise[0], -noise[0][::-1], 3)
    assert len(model.generate_image(context, batch_size=3, noise=ways)) == 3


def test_strength_0_is_the_picture_and_1_does_not_look_at_it(model):
    image = picture()
    none = model.image_to_image(image, PROMPT, strength=0, batch_size=2, **FEW)
    means = image.reshape(4, 4, 4, 4, 3).mean(axis=(1, 3))
    means = means.repeat(4, axis=0).repeat(4, axis=1)
    assert none.shape == (2, 16, 16, 3)
    np.testing.assert_allclose(none[1], means, atol=0.51)
    whole = model.image_to_image(image, PROMPT, strength=1, **FEW)
    np.testing.assert_array_equal(whole, model.text_to_image(PROMPT, **FEW))
    near, far = (
        model.image_to_image(image, PROMPT, strength=s, **FEW)[0] - means
        for s in (0.25, 0.75)
    )
    assert 0 < np.square(near).mean() < np.square(far).mean()
    both = model.image_to_image(
        np.stack([image, image[::-1]]), ["red", "green"], strength=0.5, **FEW
    )
    assert both.shape == (2, 16, 16, 3)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_inpainting_leaves_the_other_pixels(model, strength):
    images = np.stack([picture(0), picture(1)])
    mask = np.zeros((16, 16), "bool")
    mask[3:9, 5:16] = True
    result = model.inpaint(
        images, mask, PROMPT, strength=strength, batch_size=2, **FEW
    )
    originals = images.repeat(2, axis=0)
    np.testing.assert_array_equal(result[:, ~mask], originals[:, ~mask])
    assert np.mean(result[:, mask] != originals[:, mask]) > 0.9
    white = np.where(mask, 255, 0).astype("uint8")
    same = model.inpaint(
        images, white, PROMPT, strength=strength, batch_size=2, **FEW
    )
    np.testing.assert_array_equal(same, result)


@pytest.mark.slow
def test_a_callback_can_look_at_the_picture(model):
    seen = []

    def look(step, steps, latents):
        seen.append((step, steps, model.decode(latents)))

    result = model.text_to_image(PROMPT, callback=look, **FEW)
    assert [entry[:2] for entry in seen] == [(i, 4) for i in (1, 2, 3, 4)]
    np.testing.assert_array_equal(seen[-1][2], result)


@pytest.mark.slow
def test_models_are_loaded_in_turn_and_freed():
    alive, most = weakref.WeakSet(), []

    def loader(kind):
        def load():
            loaded = tiny.built(kind())
            alive.add(loaded)
            most.append(len(alive))
            return loaded

        return load

    frugal = pipeline(
        text_encoder=loader(tiny.TinyTextEncoder),
        unet=loader(tiny.TinyUNet),
        vae=loader(tiny.TinyVAE),
        downscale=tiny.SCALE,
    )
    result = frugal.text_to_image(PROMPT, **FEW)
    np.testing.assert_array_equal(
        result, pipeline().text_to_image(PROMPT, **FEW)
    )
    assert most == [1, 1, 1]
    assert not alive
    assert frugal.unet is frugal.unet  # which stays once it is asked for


@pytest.mark.slow
def test_what_the_safety_checker_rejects_is_black():
    checked = pipeline(safety_checker=lambda pictures: [True, False])
    with pytest.warns(UserWarning, match="rejects 1 of 2"):
        pictures = checked.text_to_image(PROMPT, batch_size=2, **FEW)
    assert not pictures[0].any()
    assert pictures[1].any()


@pytest.mark.slow
def test_numbers_that_are_not_finite_are_told():
    class Overflowing(tiny.TinyVAE):
        def decode(self, latents):
            return super().decode(latents) * 1e38 * 1e38

    with pytest.raises(KerasMultiError, match="decoder gave numbers"):
        pipeline(vae=tiny.built(Overflowing())).text_to_image(PROMPT, **FEW)
    broken = pipeline()
    broken.unet.factors.assign([np.nan, 0, 0])
    with pytest.raises(KerasMultiError, match="sampler gave"):
        broken.text_to_image(PROMPT, **FEW)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.text_to_image([]), "no prompt"),
        (lambda m: m.text_to_image(3), "Received: 3"),
        (lambda m: m.text_to_image("red " * 70), "64 tokens"),
        (lambda m: m.text_to_image("red", ["", ""]), "one negative prompt"),
        (lambda m: m.text_to_image("red", batch_size=0), "at least 1"),
        (lambda m: m.text_to_image("red", num_steps=0), "number of steps"),
        (lambda m: m.text_to_image("red", seed=-1), "seed must lie"),
        (lambda m: m.text_to_image("red", candidates=0), "be at least 1"),
        (lambda m: m.text_to_image("red", steps=3), "no argument 'steps'"),
        (lambda m: m.text_to_image("red", scheduler="x"), "no scheduler 'x'"),
        (
            lambda m: m.text_to_image("red", guidance_scale=np.inf),
            "must be a number",
        ),
        (
            lambda m: m.text_to_image("red", img_height=20, img_width=16),
            "multiples of 8. Received: 20 x 16",
        ),
        (
            lambda m: m.generate_image(
                m.encode_text("red"), m.encode_text("red " * 5)
            ),
            "the same shape",
        ),
        (
            lambda m: m.generate_image(
                m.encode_text("red"), noise=np.zeros((1, 4, 4, 2))
            ),
            "noise must have the shape",
        ),
        (
            lambda m: m.image_to_image(picture() / 255.0, "red"),
            "Received: float64",
        ),
        (lambda m: m.image_to_image(picture(), "red", strength=2), "strength"),
        (
            lambda m: m.image_to_image(picture(), ["red", "green"]),
            "as many as images. Received: 2 and 1",
        ),
        (
            lambda m: m.image_to_image(picture(0, (18, 16, 3)), "red"),
            "multiples of 4. Received: 18 x 16",
        ),
        (
            lambda m: m.image_to_image(picture(0, (12, 16, 3)), "red"),
            "multiples of 8. Received: 12 x 16",
        ),
        (
            lambda m: m.inpaint(picture(), np.ones((8, 16), "bool"), "red"),
            r"Received: \(1, 8, 16\)",
        ),
        (
            lambda m: m.inpaint(picture(), np.ones((16, 16), "int32"), "red"),
            "Received: int32",
        ),
    ],
)
def test_bad_arguments_are_refused(model, call, message):
    with pytest.raises(UsageError, match=message):
        call(model)


@pytest.mark.slow
def test_a_scheduler_may_be_given(model):
    named = model.text_to_image(PROMPT, scheduler="ddim", **FEW)
    given = model.text_to_image(PROMPT, scheduler=DDIM(), **FEW)
    np.testing.assert_array_equal(named, given)
