"""A model that was fine-tuned on one backend, on the others."""

import os
import subprocess
import sys

import numpy as np
import pytest

from diffusion.fine_tune import fine_tune
from diffusion.fine_tuning import FineTuning
from keras_multi import backend
from tests.diffusion import fine_tune_case

GENERATE = """
import sys
import numpy as np
from diffusion import StableDiffusion

preset, lora, result = sys.argv[1:]
model = StableDiffusion.from_preset(preset)
options = {"batch_size": 3, "num_steps": 4, "guidance_scale": 2, "seed": 1}
before = model.text_to_image("a red bar", **options)
model.merge_lora(lora)
np.save(result, [before, model.text_to_image("a red bar", **options)])
"""


@pytest.mark.slow
def test_other_backends_make_the_same_pictures(tmp_path):
    """To two levels, from a fine-tuned UNet and one with a LoRA."""
    preset, pictures = tmp_path / "preset", tmp_path / "pictures"
    pictures.mkdir()
    fine_tune_case.write_preset(preset)
    fine_tune_case.write_pictures(pictures)
    for method, start in ("unet", preset), ("lora", tmp_path / "unet/model"):
        run = FineTuning.of(
            data=str(pictures),
            preset=str(start),
            method=method,
            epochs=2,
            learning_rate=0.01,
        )
        fine_tune(run, tmp_path / method, progress=False)
    files = tmp_path / "unet/model", tmp_path / "lora/lora.safetensors"
    made = {}
    for other in backend.available():
        result = tmp_path / f"{other}.npy"
        subprocess.run(
            [sys.executable, "-c", GENERATE, *map(str, files), str(result)],
            env={
                **os.environ,
                "KERAS_BACKEND": other,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            check=True,
        )
        made[other] = np.load(result).astype(int)
    first = made[backend.name()]
    assert np.abs(first[0] - first[1]).max() > 2
    for other in made.values():
        assert np.abs(other - first).max() <= 2
