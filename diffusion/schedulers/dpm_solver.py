"""DPM-Solver++: an exponential integrator of second order."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from diffusion.schedulers.plan import Plan
from diffusion.schedulers.scheduler import Scheduler
from diffusion.schedulers.spacing import (
    check,
    karras_sigmas,
    sigmas,
    sigmas_at,
    timesteps_of,
    trailing,
)


@dataclass(frozen=True)
class DPMSolver(Scheduler):
    """Integrates the linear part exactly, and the data with two estimates.

    Lu et al. 2022, "DPM-Solver++: Fast Solver for Guided Sampling of
    Diffusion Probabilistic Models", algorithm 2 (2M) and appendix (SDE). The
    first and the last step are of first order.

    Args:
        schedule: of the noise that the model was trained with.
        karras: whether to take the sigmas of Karras et al. 2022, equation 5,
            in place of those of equally spaced timesteps.
        sde: whether to follow the stochastic differential equation, with
            fresh noise in each step.

    Example:
        >>> DPMSolver().plan(4).timesteps.tolist()
        [999.0, 749.0, 500.0, 250.0]
    """

    karras: bool = False
    sde: bool = False

    usual_spacing: ClassVar = "linspace"

    def plan(self, num_steps: int, start: int = 0) -> Plan:
        """See `Scheduler.plan`."""
        visited, sigma = self._visit(num_steps)
        visited, sigma = visited[start:], np.append(sigma[start:], 0.0)
        check(num_steps, start, self.schedule.num_train_steps - 1)
        signal = 1 / np.sqrt(1 + sigma**2)
        spread = sigma * signal
        # exp(-h) of the paper, where h is the difference of log(1 / sigma).
        decay = sigma[1:] / sigma[:-1]
        keep = spread[1:] / spread[:-1]
        weight = signal[1:] * (1 - decay)
        noise: np.ndarray | float = 0.0
        if self.sde:
            keep = keep * decay
            weight = signal[1:] * (1 - decay**2)
            noise = spread[1:] * np.sqrt(1 - decay**2)
        # D1 of the paper extrapolates by half a step.
        slope = np.zeros(len(visited))
        steps = np.diff(-np.log(sigma[:-1]))  # h of all steps but the last
        slope[1:-1] = 0.5 * steps[1:] / steps[:-1]
        return Plan.make(
            visited,
            estimate=self.schedule.clean_estimate(signal[:-1] ** 2),
            keep=keep,
            estimates=weight[:, None] * np.stack([1 + slope, -slope], axis=1),
            noise=noise,
            levels=(signal, spread),
        )

    def _visit(self, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Gives timesteps and sigmas; timestep 0 is the end of the last."""
        total = self.schedule.num_train_steps
        check(num_steps, 0, total - 1)
        if self.karras:
            known = sigmas(self.schedule)
            sigma = karras_sigmas(known[-1], known[0], num_steps)
            visited = timesteps_of(self.schedule, sigma)
            if self.schedule.betas != "cosine":
                visited = np.round(visited)
            return visited, sigma
        if self.spacing == "linspace":
            visited = np.linspace(total - 1, 0, num_steps + 1)[:-1].round()
        elif self.spacing == "leading":
            ratio = total // (num_steps + 1)
            visited = np.arange(num_steps, 0, -1) * ratio
            visited = visited + self.schedule.steps_offset
        else:
            visited = trailing(total, num_steps)
        return visited, sigmas_at(self.schedule, visited)
