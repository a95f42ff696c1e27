"""Euler's method, and the same with fresh noise in each step."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from diffusion.schedulers.plan import Plan
from diffusion.schedulers.scheduler import Scheduler
from diffusion.schedulers.spacing import (
    check,
    karras_sigmas,
    sigmas_at,
    timesteps,
    timesteps_of,
)


@dataclass(frozen=True)
class Euler(Scheduler):
    """Follows the differential equation of the probability flow.

    Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based
    Generative Models", algorithm 2 without churn and of first order. The
    sample is the data plus sigma times the noise.

    Args:
        schedule: of the noise that the model was trained with.
        karras: whether to take their sigmas, equation 5, in place of those
            of equally spaced timesteps.

    Example:
        >>> float(Euler().plan(20).initial_noise_scale.round(1))
        14.6
    """

    karras: bool = False

    usual_spacing: ClassVar = "linspace"

    def plan(self, num_steps: int, start: int = 0) -> Plan:
        """See `Scheduler.plan`."""
        check(num_steps, start, self.schedule.num_train_steps)
        visited = timesteps(self.schedule, self.spacing, num_steps)
        sigma = sigmas_at(self.schedule, visited)
        if self.karras:
            sigma = karras_sigmas(sigma[0], sigma[-1], num_steps)
            visited = timesteps_of(self.schedule, sigma)
        sigma = sigma[start:]
        following = np.append(sigma[1:], 0.0)
        return _plan(self, visited[start:], sigma, following)


@dataclass(frozen=True)
class EulerAncestral(Scheduler):
    """Steps further down than asked, and adds noise to come back.

    The variance of the noise is that of DDPM's posterior (Ho et al. 2020,
    equation 7) written in sigmas.

    Args:
        schedule: of the noise that the model was trained with.

    Example:
        >>> EulerAncestral().plan(4).is_random
        True
    """

    usual_spacing: ClassVar = "linspace"

    def plan(self, num_steps: int, start: int = 0) -> Plan:
        """See `Scheduler.plan`."""
        visited = timesteps(self.schedule, self.spacing, num_steps, start)
        sigma = sigmas_at(self.schedule, visited)
        following = np.append(sigma[1:], 0.0)
        fresh = following * np.sqrt(1 - (following / sigma) ** 2)
        down = np.sqrt(following**2 - fresh**2)
        return _plan(self, visited, sigma, down, fresh)


def _plan(
    scheduler: Scheduler,
    visited: np.ndarray,
    sigma: np.ndarray,
    target: np.ndarray,
    fresh: np.ndarray | float = 0.0,
) -> Plan:
    """Makes a plan of Euler steps, one for each timestep.

    Args:
        scheduler: whose plan it is.
        visited: the timesteps.
        sigma: at each of them.
        target: the sigma to step to from each.
        fresh: standard deviation of the noise that is then added.
    """
    signal = 1 / np.sqrt(1 + sigma**2)
    from_sample, from_output = scheduler.schedule.clean_estimate(signal**2)
    # From x + sigma * e to x + target * e, where x is the estimate.
    keep = target / sigma
    # `"leading"` leaves the last timesteps out, where noise starts whose
    # variance is that of data with noise.
    leading = scheduler.spacing == "leading"
    return Plan.make(
        visited,
        estimate=(from_sample * signal, from_output),
        keep=keep,
        estimates=1 - keep,
        noise=fresh,
        input_scale=signal,
        levels=(np.ones(len(sigma) + 1), np.append(sigma, 0.0)),
        initial_noise_scale=1 / signal[0] if leading else sigma[0],
    )
