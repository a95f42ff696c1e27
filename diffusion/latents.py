"""Samples latents: from noise, or from those of pictures with noise."""

from typing import Any

import numpy as np
from keras import ops

from diffusion.candidates import choose, preview
from diffusion.options import Noise, Options
from diffusion.sampling import Kept, SamplingLoop
from diffusion.schedulers import NoiseSchedule, Plan
from keras_multi.errors import UsageError


def guided(
    context: Any, negative: Any, batch_size: int, options: Options
) -> Any:
    """Gives the context of each picture; with guidance, both halves.

    Args:
        context: float `(B, T, D)`.
        negative: the same without the prompt, or `(1, T, D)`; not used
            where there is no guidance.
        batch_size: number of pictures of each prompt.
        options: how to sample.

    Returns:
        float32 `(B * batch_size, T, D)`; with guidance twice as many, those
        without the prompt first.

    Raises:
        UsageError: if the two do not have the same shape.
    """
    context = ops.convert_to_tensor(context, "float32")
    prompts = context.shape[0]
    context = ops.repeat(context, batch_size, axis=0)
    if not options.guides:
        return context
    negative = ops.convert_to_tensor(negative, "float32")
    if negative.shape[0] == 1:
        negative = ops.repeat(negative, prompts, axis=0)
    negative = ops.repeat(negative, batch_size, axis=0)
    if tuple(negative.shape) != tuple(context.shape):
        raise UsageError(
            "contexts with and without the prompt must have the same shape. "
            f"Received: {tuple(context.shape)} and {tuple(negative.shape)}"
        )
    return ops.concatenate([negative, context], axis=0)


def sample(
    loop: SamplingLoop,
    schedule: NoiseSchedule,
    shape: tuple[int, ...],
    contexts: Any,
    prompts: int,
    options: Options,
    noise: Any = None,
    strength: float = 1.0,
    clean: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> Any:
    """Samples latents.

    Args:
        loop: of the UNet.
        schedule: of the noise that it was trained with.
        shape: of the latents, `(B, h, w, C)`.
        contexts: see `guided`.
        prompts: number of prompts, each of as many pictures.
        options: how to sample.
        noise: standard normal, to start from in place of a draw.
        strength: share of the steps that are taken, more than 0.
        clean: latents that the noise is added to, if it is less than 1.
        mask: float32 `(B, h, w, 1)`, 1 where they may change.

    Returns:
        float32 `(B, h, w, C)`.

    Raises:
        UsageError: if a number is out of range.
    """
    plan = options.plan(schedule, strength)
    if noise is not None and np.shape(noise) != shape:
        raise UsageError(
            f"noise must have the shape {shape}. Received: {np.shape(noise)}"
        )

    def run(plan: Plan, first: np.ndarray, **more: Any) -> Any:
        if clean is None or strength == 1:
            start = plan.initial_noise_scale * first
        else:
            start = plan.clean_level[0] * clean + plan.noise_level[0] * first
        return loop(
            plan,
            start,
            contexts,
            guidance_scale=options.guidance_scale,
            kept=None if mask is None else Kept(clean, first, mask),
            **more,
        )

    draws = Noise(options.seed, shape[0], shape[1:])
    first = draws.draw()
    if noise is not None:
        first = np.asarray(noise, "float32")
    elif options.candidates > 1 and shape[0] > prompts:
        others = [
            Noise(options.seed, shape[0], shape[1:], candidate).draw()
            for candidate in range(1, options.candidates)
        ]
        noises = [first, *others]
        short = preview(schedule, plan)
        estimates = [ops.convert_to_numpy(run(short, one)) for one in noises]
        chosen = choose(np.stack(estimates), prompts)
        first = np.stack([noises[i][picture] for i, picture in chosen])
    return run(
        plan,
        first,
        noise=draws.draw_steps(plan.num_steps) if plan.is_random else None,
        callback=options.callback,
    )
