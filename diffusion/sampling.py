"""The loop from noise to data, one program for all steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from diffusion.schedulers import Plan
from keras_multi import backend

SMALLEST_BUCKET = 64

Callback = Callable[[int, int, Any], None]


class State(NamedTuple):
    """Where the loop is."""

    index: Any  # int32 scalar, number of steps done
    sample: Any  # float32 (B, h, w, C)
    history: Any  # float32 (HISTORY, B, h, w, C), last estimates


class Kept(NamedTuple):
    """What inpainting keeps of a picture."""

    clean: Any  # float32 (B, h, w, C), its latents
    noise: Any  # float32 (B, h, w, C), added to them
    mask: Any  # float32 (B, h, w, 1), 1 where there is to be something new


class Task(NamedTuple):
    """What stays while the loop runs."""

    plan: Plan
    context: Any  # float32 (B, T, D), or (2 B, T, D) for guidance
    context_mask: Any  # bool, of the same batch, (., T); or None
    guidance_scale: Any  # float32 scalar
    noise: Any  # float32 (N, B, h, w, C); (1, ...) if no step needs any
    kept: Kept | None


class SamplingLoop:
    """Samples with a UNet.

    The loop is one program on JAX and TensorFlow, whichever the scheduler. It
    is compiled for numbers of steps that double, and again for each size of
    the pictures. With a callback the same program runs one step at a time.
    PyTorch repeats the operations of the first step.

    Args:
        unet: called with latents `(B, h, w, C)`, timesteps `(B,)`, a context
            `(B, T, D)` and its mask.
    """

    def __init__(self, unet: Any) -> None:
        self.unet = unet
        self._advance = backend.bind_loop(unet, self._step)

    def __call__(
        self,
        plan: Plan,
        sample: Any,
        context: Any,
        context_mask: Any = None,
        guidance_scale: float = 1.0,
        noise: np.ndarray | None = None,
        kept: Kept | None = None,
        callback: Callback | None = None,
    ) -> Any:
        """Takes the steps of a plan.

        Args:
            plan: of a scheduler.
            sample: float32 `(B, h, w, C)`, what to start from.
            context: float `(B, T, D)`; with guidance `(2 B, T, D)`, those
                without the prompt first.
            context_mask: bool `(., T)`, of the tokens to attend to.
            guidance_scale: how far to go from the prediction without the
                prompt to that with it (Ho and Salimans 2022,
                "Classifier-Free Diffusion Guidance", equation 6, where it is
                1 + w).
            noise: float32 `(N, B, h, w, C)`, for the steps of a plan that
                is random.
            kept: parts of a picture that stay.
            callback: called after each step with the number of steps done,
                the number of all steps and the sample.

        Returns:
            The last sample, float32 `(B, h, w, C)`.
        """
        steps = plan.num_steps
        rows = max(SMALLEST_BUCKET, 1 << (steps - 1).bit_length())
        if noise is None:
            noise = np.zeros((1, *sample.shape), "float32")
        else:
            noise = np.pad(noise, [(0, rows - steps)] + [(0, 0)] * 4)
        if kept is not None:
            kept = Kept(*(ops.convert_to_tensor(x, "float32") for x in kept))
        task = Task(
            plan.padded(rows).tensors(),
            ops.convert_to_tensor(context),
            context_mask,
            ops.convert_to_tensor(guidance_scale, "float32"),
            ops.convert_to_tensor(noise, "float32"),
            kept,
        )
        sample = ops.convert_to_tensor(sample, "float32")
        state = State(
            ops.convert_to_tensor(0, "int32"),
            sample,
            task.plan.empty_history(sample),
        )
        chunk = steps if callback is None else 1
        for done in range(chunk, steps + 1, chunk):
            limit = ops.convert_to_tensor(done, "int32")
            state = State(*self._advance(tuple(state), limit, task))
            if callback is not None:
                callback(done, steps, state.sample)
        return state.sample

    def _step(self, state: Any, task: Task) -> Any:
        index, sample, history = state
        plan, batch = task.plan, sample.shape[0]
        guided = task.context.shape[0] != batch
        x = plan.scale_input(sample, index)
        if guided:
            x = ops.concatenate([x, x], axis=0)
        timestep = ops.take(plan.timesteps, index)
        output = self.unet(
            x,
            ops.broadcast_to(timestep, (x.shape[0],)),
            task.context,
            context_mask=task.context_mask,
        )
        output = ops.cast(output, "float32")
        if guided:
            plain, prompted = output[:batch], output[batch:]
            output = plain + task.guidance_scale * (prompted - plain)
        row = ops.minimum(index, task.noise.shape[0] - 1)
        noise = ops.take(task.noise, row, axis=0)
        sample, history = plan.step(history, output, sample, index, noise)
        if task.kept is not None:
            clean, noise, mask = task.kept
            level = plan.level(clean, noise, index + 1)
            sample = mask * sample + (1 - mask) * level
        return index + 1, sample, history
