"""LCM: a consistency model jumps to the data in each step."""

from dataclasses import dataclass

import numpy as np

from diffusion.schedulers.plan import Plan
from diffusion.schedulers.scheduler import Scheduler
from diffusion.schedulers.spacing import alphas_along, check
from keras_multi.errors import UsageError

SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


@dataclass(frozen=True)
class LCM(Scheduler):
    """Estimates the data at once, and adds noise for another try.

    Luo et al. 2023, "Latent Consistency Models", algorithm 3. It needs a
    model distilled for it, and few steps.

    Args:
        schedule: of the noise that the model was trained with.
        trained_steps: number of timesteps of the distillation, of which a
            plan visits some.

    Raises:
        UsageError: if the number is out of range.

    Example:
        >>> LCM().plan(4).timesteps.tolist()
        [999.0, 759.0, 499.0, 259.0]
    """

    trained_steps: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.trained_steps <= self.schedule.num_train_steps:
            raise UsageError(
                "trained_steps must lie in "
                f"[1, {self.schedule.num_train_steps}]. "
                f"Received: {self.trained_steps}"
            )

    def plan(self, num_steps: int, start: int = 0) -> Plan:
        """See `Scheduler.plan`."""
        check(num_steps, start, self.trained_steps)
        ratio = self.schedule.num_train_steps // self.trained_steps
        trained = np.arange(self.trained_steps, 0, -1) * ratio - 1
        places = np.linspace(0, self.trained_steps, num_steps, endpoint=False)
        visited = trained[places.astype(int)][start:]
        now, following = alphas_along(self.schedule, visited, final=1.0)
        scaled = visited * TIMESTEP_SCALING
        skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
        out = scaled / np.sqrt(scaled**2 + SIGMA_DATA**2)
        levels = np.append(now, 1.0)
        return Plan.make(
            visited,
            estimate=self.schedule.clean_estimate(now),
            keep=np.sqrt(following) * skip,
            estimates=np.sqrt(following) * out,
            noise=np.sqrt(1 - following),
            levels=(np.sqrt(levels), np.sqrt(1 - levels)),
        )
