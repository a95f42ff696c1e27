"""PNDM: a linear multistep method along the estimates of the noise."""

from dataclasses import dataclass

import numpy as np

from diffusion.schedulers.plan import HISTORY, Plan
from diffusion.schedulers.scheduler import Scheduler
from diffusion.schedulers.spacing import alphas_along, timesteps
from keras_multi.errors import UsageError

# Adams-Bashforth weights, the latest output first.
ADAMS_BASHFORTH = (
    np.array([1.0]),
    np.array([3.0, -1.0]) / 2,
    np.array([23.0, -16.0, 5.0]) / 12,
    np.array([55.0, -59.0, 37.0, -9.0]) / 24,
)


@dataclass(frozen=True)
class PNDM(Scheduler):
    """Averages the last four outputs for a step along the noise.

    Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on
    Manifolds", equations 9 and 12. As Stable Diffusion does, it starts with
    lower orders in place of Runge-Kutta, and takes the first step twice,
    the second time with the mean of the outputs at both its ends. So the
    model is called once more than there are timesteps.

    Args:
        schedule: of the noise that the model was trained with.

    Example:
        >>> PNDM().plan(4).timesteps.tolist()
        [751.0, 501.0, 501.0, 251.0, 1.0]
    """

    def __post_init__(self) -> None:
        if self.schedule.zero_terminal_snr:
            raise UsageError(
                "PNDM divides by the factor of the data, which is zero at "
                "the last timestep; take another sampler for a schedule with "
                "zero_terminal_snr"
            )

    def plan(self, num_steps: int, start: int = 0) -> Plan:
        """See `Scheduler.plan`."""
        final = self.schedule.final_alpha
        visited = np.round(
            timesteps(self.schedule, self.spacing, num_steps, start)
        )
        now, following = alphas_along(self.schedule, visited, final)
        from_sample, from_output = self.schedule.noise_estimate(now)
        ratio = np.sqrt(following / now)
        along = np.sqrt(1 - following) - ratio * np.sqrt(1 - now)
        keep = ratio + along * from_sample
        weight = along * from_output
        calls = np.arange(len(visited))
        levels = np.append(now, final)
        if len(visited) > 1:  # The second call is the other end of the first.
            calls = np.insert(calls, 1, 0)
            visited = np.insert(visited, 1, visited[1])
            levels = np.insert(levels, 1, levels[1])
        keep = keep[calls]
        estimates = np.zeros((len(calls), HISTORY))
        for call, step in enumerate(calls):
            if call == 1:  # Replace the first output by the mean.
                keep[1] = 1.0
                estimates[1, :2] = weight[0] / 2, -weight[0] / 2
            else:
                used = [call - i for i in range(call + 1) if call - i != 1]
                used = used[: len(ADAMS_BASHFORTH)]
                order = ADAMS_BASHFORTH[len(used) - 1]
                estimates[call, call - np.array(used)] = weight[step] * order
        return Plan.make(
            visited,
            estimate=(np.zeros(len(calls)), np.ones(len(calls))),
            keep=keep,
            estimates=estimates,
            levels=(np.sqrt(levels), np.sqrt(1 - levels)),
        )
