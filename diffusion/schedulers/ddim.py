"""DDIM: the same marginals as DDPM with little noise or none."""

from dataclasses import dataclass

import numpy as np

from diffusion.schedulers.noise import NoiseSchedule
from diffusion.schedulers.plan import Plan
from diffusion.schedulers.scheduler import Scheduler
from diffusion.schedulers.spacing import alphas_along, timesteps
from keras_multi.errors import UsageError


@dataclass(frozen=True)
class DDIM(Scheduler):
    """Moves along the estimates of data and noise.

    Song et al. 2021, "Denoising Diffusion Implicit Models", equations 12
    and 16.

    Args:
        schedule: of the noise that the model was trained with.
        eta: share of fresh noise, from 0, for none, to 1, for as much as in
            DDPM.

    Raises:
        UsageError: if `eta` is out of range.

    Example:
        >>> DDIM().plan(4).is_random, DDIM(eta=1.0).plan(4).is_random
        (False, True)
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise UsageError(f"eta must lie in [0, 1]. Received: {self.eta}")

    def plan(self, num_steps: int, start: int = 0) -> Plan:
        """See `Scheduler.plan`."""
        final = self.schedule.final_alpha
        visited = np.round(
            timesteps(self.schedule, self.spacing, num_steps, start)
        )
        return along(self.schedule, visited, final, self.eta)


def along(
    schedule: NoiseSchedule,
    visited: np.ndarray,
    final: float,
    eta: float = 0.0,
) -> Plan:
    """Gives the plan of DDIM along some timesteps.

    Args:
        schedule: of the noise.
        visited: whole timesteps, falling, `(N,)`.
        final: share of the variance that is data after the last one.
        eta: share of fresh noise.
    """
    now, following = alphas_along(schedule, visited, final)
    variance = (1 - following) / (1 - now) * (1 - now / following)
    variance *= eta**2
    # The noise in the sample is what is not data:
    # (sample - sqrt(now) * data) / sqrt(1 - now).
    direction = np.sqrt((1 - following - variance) / (1 - now))
    levels = np.append(now, final)
    return Plan.make(
        visited,
        estimate=schedule.clean_estimate(now),
        keep=direction,
        estimates=np.sqrt(following) - direction * np.sqrt(now),
        noise=np.sqrt(variance),
        levels=(np.sqrt(levels), np.sqrt(1 - levels)),
    )
