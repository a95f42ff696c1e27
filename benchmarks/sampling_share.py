"""What a step of the sampler takes, against a call of the UNet alone.

DDIM with guidance, both halves in one call, one picture: that of the workload
`sd_text_to_image` ("small"), or Stable Diffusion 1.4 at 128x128 pixels
("full") or 256x256 ("large"). The whole loop and single calls, in turns, in
one process. Run it once per backend: `KERAS_BACKEND=jax python -m
benchmarks.sampling_share`.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from keras import ops

from benchmarks.stable_diffusion import filled
from benchmarks.workloads import sd_text_to_image, sd_unet_step
from diffusion.options import Noise, Options
from diffusion.sampling import SamplingLoop
from diffusion.schedulers import NoiseSchedule
from keras_multi import backend

ROUNDS = 9
STEPS = {"small": 20, "full": 4, "large": 2}


def seconds(fn: Callable[[], Any]) -> float:
    """Time of a call, until its result is there."""
    start = time.perf_counter()
    backend.synchronize(fn())
    return time.perf_counter() - start


def share(kind: str) -> dict[str, float]:
    """Measures a UNet.

    Args:
        kind: one of `STEPS`.

    Returns:
        Medians: milliseconds of a `call` and of a `step`, and the `ratio` of
        the two in one round.
    """
    if kind == "small":
        unet = sd_text_to_image.WORKLOAD.pipeline("float32").unet
        shape, tokens = sd_text_to_image.LATENTS, sd_text_to_image.TOKENS
    else:
        unet = filled(sd_unet_step.WORKLOAD, "float32")
        side = 16 if kind == "full" else 32
        shape, tokens = (side, side, 4), sd_unet_step.TOKENS
    steps = STEPS[kind]
    plan = Options(steps, scheduler="ddim").plan(NoiseSchedule(prediction="v"))
    noise = Noise(0, 1, shape).draw()
    context = Noise(1, 2, (tokens, unet.context_dim)).draw()
    call = backend.bind(unet, lambda *inputs: unet(*inputs), static=True)
    arrays = noise.repeat(2, axis=0), plan.timesteps[:1].repeat(2), context
    inputs = [ops.convert_to_tensor(x) for x in arrays]
    loop = SamplingLoop(unet)

    def sample() -> Any:
        return loop(plan, noise, context, guidance_scale=2.0)

    def step() -> Any:
        return call(*inputs)

    for fn in (sample, step):
        seconds(fn)
        seconds(fn)
    rounds = [
        (
            seconds(sample) / steps,
            statistics.median(seconds(step) for _ in range(steps)),
        )
        for _ in range(ROUNDS)
    ]
    loops, calls = zip(*rounds, strict=True)
    return {
        "call": 1000 * statistics.median(calls),
        "step": 1000 * statistics.median(loops),
        "ratio": statistics.median(a / b for a, b in rounds),
    }


def main() -> None:
    """Measures the backend of this process and prints a line for each UNet."""
    for kind in sys.argv[1:] or STEPS:
        found = share(kind)
        print(
            f"{backend.name():10} {kind:5} UNet {found['call']:7.1f} ms, "
            f"step {found['step']:7.1f} ms, ratio {found['ratio']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
