"""The UNet of Stable Diffusion 1.4 in full size against that of diffusers.

No test: it takes gigabytes. `python -m tests.diffusion.full_size write DIR`
draws a random model (3.4 GB), `... compare DIR` reads it on the backend of
`KERAS_BACKEND`, and prints the largest difference as a share of the largest
output, the seconds of a step at 128x128 pixels, and the peak memory.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPETITIONS = 5


def inputs() -> dict[str, np.ndarray]:
    """Latents of 128x128 pixels, a time step and a text."""
    rng = np.random.default_rng(0)
    return {
        "latents": rng.normal(size=(1, 16, 16, 4)).astype("float32"),
        "timesteps": np.array([981], "int32"),
        "context": rng.normal(size=(1, 77, 768)).astype("float32"),
    }


def seconds(fn: Callable[[], Any]) -> float:
    """The fastest of some calls, after one that does not count."""
    times = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        fn()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def write(folder: Path) -> dict[str, Any]:
    """Draws and writes the model of diffusers, and what it computes."""
    import torch
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    torch.manual_seed(0)
    with torch.inference_mode():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                deviation = parameter[0].numel() ** -0.5
                parameter.normal_(0, deviation)
            else:
                is_scale = "norm" in name and name.endswith("weight")
                parameter.normal_(float(is_scale), 0.05)
        model.eval().save_pretrained(folder / "unet", max_shard_size="9GB")
        latents, timesteps, context = map(torch.tensor, inputs().values())
        latents = latents.permute(0, 3, 1, 2)

        def step() -> Any:
            return model(latents, timesteps, context).sample

        outputs = step().permute(0, 2, 3, 1).numpy()
        np.save(folder / "outputs.npy", outputs)
        return {"model": "diffusers", "step": seconds(step)}


def compare(folder: Path) -> dict[str, Any]:
    """Reads the model and compares its outputs."""
    import keras

    from diffusion.folder import read
    from keras_multi import backend

    start = time.perf_counter()
    unet = read(folder, "unet")
    reading = time.perf_counter() - start
    compiled = backend.inference(lambda *tensors: unet(*tensors))
    tensors = list(map(keras.ops.convert_to_tensor, inputs().values()))
    ours = keras.ops.convert_to_numpy(compiled(*tensors))
    expected = np.load(folder / "outputs.npy")

    def step() -> None:
        backend.synchronize(compiled(*tensors))

    return {
        "model": backend.name(),
        "parameters": unet.count_params(),
        "difference": float(
            np.abs(ours - expected).max() / np.abs(expected).max()
        ),
        "reading": reading,
        "step": seconds(step),
        "peak_bytes": backend.peak_memory().process,
    }


if __name__ == "__main__":
    action = {"write": write, "compare": compare}[sys.argv[1]]
    print(json.dumps(action(Path(sys.argv[2]))))
