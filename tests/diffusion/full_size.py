"""Stable Diffusion 1.4 in full size, with random weights.

No test: it takes gigabytes. `python -m tests.diffusion.full_size write DIR`
draws a UNet of diffusers (3.4 GB), `... compare DIR` reads it on the backend
of `KERAS_BACKEND`, and prints the largest difference as a share of the
largest output, the seconds of a step at 128x128 pixels, and the peak memory.

`... save DIR` draws a whole pipeline (2.1 GB, in half precision), and
`... generate DIR [DTYPE]` makes three pictures of 256x256 pixels with it, in
two steps, and prints seconds and peak memory.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPETITIONS = 5
PROMPT = "a photograph of an astronaut riding a horse"


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


def save(folder: Path) -> dict[str, Any]:
    """Draws and writes a pipeline."""
    from benchmarks.stable_diffusion import draw
    from diffusion import VAE, CLIPTextEncoder, StableDiffusion, UNet
    from diffusion.names import slots_of
    from diffusion.slots import assign
    from diffusion.tokenizer import CLIPTokenizer

    models = (CLIPTextEncoder(), UNet(), VAE())
    for model in models:
        slots = slots_of(model)
        assign(slots, {name: draw(name, s.shape) for name, s in slots.items()})
    tokenizer = CLIPTokenizer.from_words(PROMPT.split(), 77)
    StableDiffusion(*models, tokenizer).save_to_preset(folder, "float16")
    return {"parameters": sum(model.count_params() for model in models)}


def generate(folder: Path, dtype: str = "float32") -> dict[str, Any]:
    """Makes three pictures."""
    from diffusion import StableDiffusion
    from keras_multi import backend

    start = time.perf_counter()
    pipeline = StableDiffusion.from_preset(folder, dtype=dtype)
    loaded = time.perf_counter()
    memory = backend.peak_memory().process
    pictures = pipeline.text_to_image(
        PROMPT, batch_size=3, img_height=256, img_width=256, num_steps=2, seed=0
    )
    return {
        "backend": backend.name(),
        "dtype": dtype,
        "shape": pictures.shape,
        "deviation": float(pictures.std()),
        "loading": loaded - start,
        "seconds": time.perf_counter() - loaded,
        "loading_peak_bytes": memory,
        "peak_bytes": backend.peak_memory().process,
    }


ACTIONS = {
    "write": write,
    "compare": compare,
    "save": save,
    "generate": generate,
}

if __name__ == "__main__":
    name, folder, *more = sys.argv[1:]
    print(json.dumps(ACTIONS[name](Path(folder), *more)))
