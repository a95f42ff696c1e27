"""DDPM: the reverse of the forward process, with noise in each step."""

from dataclasses import dataclass

import numpy as np

from diffusion.schedulers.plan import Plan
from diffusion.schedulers.scheduler import Scheduler
from diffusion.schedulers.spacing import alphas_along, timesteps


@dataclass(frozen=True)
class DDPM(Scheduler):
    """Draws from the posterior of the forward process.

    Ho et al. 2020, "Denoising Diffusion Probabilistic Models", equations 6
    and 7, with the smaller of the two variances.

    Args:
        schedule: of the noise that the model was trained with.

    Example:
        >>> DDPM().plan(4).timesteps.tolist()
        [751.0, 501.0, 251.0, 1.0]
    """

    def plan(self, num_steps: int, start: int = 0) -> Plan:
        """See `Scheduler.plan`."""
        visited = np.round(
            timesteps(self.schedule, self.spacing, num_steps, start)
        )
        now, following = alphas_along(self.schedule, visited, final=1.0)
        ratio = now / following
        variance = (1 - following) / (1 - now) * (1 - ratio)
        levels = np.append(now, 1.0)
        return Plan.make(
            visited,
            estimate=self.schedule.clean_estimate(now),
            keep=np.sqrt(ratio) * (1 - following) / (1 - now),
            estimates=np.sqrt(following) * (1 - ratio) / (1 - now),
            noise=np.sqrt(variance),
            levels=(np.sqrt(levels), np.sqrt(1 - levels)),
        )
