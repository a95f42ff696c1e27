import json
import shutil

import numpy as np
import pytest

from diffusion import StableDiffusion, preset
from diffusion.options import Noise
from diffusion.schedulers import NoiseSchedule
from keras_multi.errors import DataError, UsageError
from keras_multi.presets import write_safetensors
from tests.diffusion import reference, tiny

SIZE = {"img_height": 16, "img_width": 24}
SHAPE = (8, 12, 4)
PROMPT, NEGATIVE = "red fan of", "a bad"


@pytest.fixture(scope="module")
def theirs():
    pipeline = reference.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline")
    theirs.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def ours(folder):
    return preset.load(folder)


def latents_of(model, scheduler):
    """The last latents, and the picture."""
    seen = []
    options = {"num_steps": 5, "seed": 3, "scheduler": scheduler}
    picture = model.text_to_image(
        PROMPT, NEGATIVE, batch_size=2,
        callback=lambda *step: seen.append(step[2]), **options, **SIZE,
    )  # fmt: skip
    return seen[-1], picture


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ddim", "DDIMScheduler"),
        ("euler", "EulerDiscreteScheduler"),
        ("dpm_solver", "DPMSolverMultistepScheduler"),
        ("pndm", "PNDMScheduler"),
    ],
)
def test_the_pipeline_equals_diffusers(theirs, ours, folder, name, kind):
    import diffusers
    import torch

    theirs.scheduler = getattr(diffusers, kind).from_pretrained(
        folder, subfolder="scheduler", skip_prk_steps=True
    )
    noise = torch.tensor(Noise(3, 2, SHAPE).draw()).permute(0, 3, 1, 2)
    settings = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "num_images_per_prompt": 2,
        "num_inference_steps": 5,
        "height": 16,
        "width": 24,
    }
    expected = theirs(latents=noise, output_type="latent", **settings).images
    latents, picture = latents_of(ours, name)
    reference.close(latents, expected.permute(0, 2, 3, 1), 1e-4)
    expected = theirs(latents=noise, output_type="np", **settings).images
    np.testing.assert_allclose(picture, expected * 255, atol=1)
    assert picture.std() > 20


@pytest.mark.slow
def test_a_folder_comes_back_to_diffusers(theirs, ours, folder, tmp_path):
    import diffusers
    import torch

    ours.save_to_preset(tmp_path)
    again = StableDiffusion.from_preset(tmp_path, low_memory=True)
    assert again.image_size == (128, 128)
    _, expected = latents_of(ours, "ddim")
    _, picture = latents_of(again, "ddim")
    np.testing.assert_array_equal(picture, expected)
    read = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path)
    ids = [
        pipeline.tokenizer(
            [PROMPT, "red"], padding="max_length", truncation=True
        )["input_ids"]
        for pipeline in (read, theirs)
    ]
    assert ids[0] == ids[1]
    for part in ("unet", "vae", "text_encoder"):
        pairs = zip(
            getattr(read, part).state_dict().items(),
            getattr(theirs, part).state_dict().items(),
            strict=True,
        )
        for (name, value), (_, wanted) in pairs:
            assert torch.equal(value, wanted), name
    assert read.scheduler.config.steps_offset == 1


@pytest.mark.slow
def test_bad_folders_are_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="no 'none'"):
        preset.load("none")
    for missing in (
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "vae/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ):
        path = tmp_path / missing.replace("/", "_")
        shutil.copytree(folder, path)
        (path / missing).unlink()
        with pytest.raises(DataError, match=missing.rsplit("/", 1)[-1]):
            preset.load(path)
    config = json.loads((folder / preset.SCHEDULER).read_text())
    config["beta_schedule"] = "laplace"
    path = tmp_path / "laplace"
    shutil.copytree(folder, path)
    (path / preset.SCHEDULER).write_text(json.dumps(config))
    with pytest.raises(UsageError, match="laplace"):
        preset.load(path)


@pytest.mark.parametrize("version", [1, 2])
def test_a_single_file(monkeypatch, tmp_path, version):
    """Its models are those of `single_file`, its tokenizer that of CLIP."""
    kind = "transformer" if version == 1 else "model"
    path = tmp_path / "model.safetensors"
    name = f"cond_stage_model.{kind}.x"
    write_safetensors(path, {name: np.zeros(1, "float32")}, {})
    unet = tiny.built(tiny.TinyUNet())
    monkeypatch.setattr(preset.single_file, "read", lambda path, part: unet)
    read = preset.load(path, prediction="v")
    assert read.unet is unet
    assert read.image_size == (512, 512)
    assert read.schedule == NoiseSchedule(prediction="v")
    assert read.tokenizer("cat")[0, -1] == (49407 if version == 1 else 0)


def test_a_pickle_is_not_read(tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="pickle"):
        preset.load(path)
