"""How to sample, and the noise to sample from."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from diffusion.sampling import Callback
from diffusion.schedulers import NoiseSchedule, Plan, Scheduler, by_name
from keras_multi.errors import UsageError


@dataclass(frozen=True)
class Options:
    """How to sample.

    Args:
        num_steps: number of timesteps to visit.
        guidance_scale: how much more than without the prompt; 1 for no
            guidance, which halves the time.
        seed: of the noise, in `[0, 2**32)`. The same seed gives the same
            picture on every backend; without one it differs each time.
        scheduler: one of `diffusion.schedulers.NAMES`, or a scheduler.
        candidates: noises for each picture. With more than one, those of a
            prompt start from the noises that make them differ most, see
            `diffusion.candidates`; each then costs 15 % of the steps. The
            first picture is the same with any number.
        callback: called after each step with the number of steps done, the
            number of all steps and the latents.

    Raises:
        UsageError: if an argument is out of range.
    """

    num_steps: int = 50
    guidance_scale: float = 7.5
    seed: int | None = None
    scheduler: str | Scheduler = "dpm_solver"
    candidates: int = 1
    callback: Callback | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.guidance_scale):
            raise UsageError(
                "guidance_scale must be a number. "
                f"Received: {self.guidance_scale}"
            )
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise UsageError(
                f"seed must lie in [0, 2**32). Received: {self.seed}"
            )
        if self.candidates < 1:
            raise UsageError(
                f"candidates must be at least 1. Received: {self.candidates}"
            )

    @classmethod
    def of(cls, options: dict[str, Any]) -> Self:
        """Takes the arguments of a call.

        Raises:
            UsageError: if there is no such argument, or it is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise UsageError(
                    f"there is no argument {name!r}; there are also "
                    f"{', '.join(known)}"
                )
        return cls(**options)

    @property
    def guides(self) -> bool:
        """Whether the model is also asked without the prompt."""
        return self.guidance_scale != 1

    def plan(self, schedule: NoiseSchedule, strength: float = 1.0) -> Plan:
        """Makes the plan of the scheduler, or the last part of it."""
        scheduler = self.scheduler
        if isinstance(scheduler, str):
            scheduler = by_name(scheduler, schedule)
        steps = int(self.num_steps * strength)
        return scheduler.plan(self.num_steps, self.num_steps - steps)


class Noise:
    """Draws standard normal numbers, alike on every backend.

    Each picture has a generator of its own, so that it does not depend on
    how many are made with it.

    Args:
        seed: with the numbers of the picture and the candidate, of its
            generator.
        count: number of pictures.
        shape: of the latents of one.
        candidate: number of the candidate for each picture, from 0.
    """

    def __init__(
        self,
        seed: int | None,
        count: int,
        shape: tuple[int, ...],
        candidate: int = 0,
    ) -> None:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._shape = shape
        # NumPy takes (seed, i, 0) as (seed, i), of which pictures were made
        # before there were candidates.
        self._generators = [
            np.random.default_rng((seed, i, candidate)) for i in range(count)
        ]

    def draw(self) -> np.ndarray:
        """Gives float32 `(count, *shape)`."""
        return self.draw_steps(1)[0]

    def draw_steps(self, steps: int) -> np.ndarray:
        """Gives float32 `(steps, count, *shape)`."""
        shape = steps, *self._shape
        draws = [g.standard_normal(shape, "float32") for g in self._generators]
        return np.stack(draws, axis=1)
