"""Which timesteps and sigmas a sampler visits."""

import numpy as np

from diffusion.schedulers.noise import NoiseSchedule
from keras_multi.errors import UsageError

SMALLEST_ALPHA = 2.0**-24  # for a finite sigma at zero terminal SNR
KARRAS_RHO = 7.0


def timesteps(
    schedule: NoiseSchedule, spacing: str, num_steps: int, start: int = 0
) -> np.ndarray:
    """Gives the timesteps to visit, float64, falling.

    Whole numbers, except in `"linspace"`. Lin et al. 2024, table 2.

    Args:
        schedule: whose timesteps they are.
        spacing: how they are spread, see `NoiseSchedule`.
        num_steps: number of timesteps.
        start: how many of them to leave out.

    Raises:
        UsageError: if a number is out of range.
    """
    total = schedule.num_train_steps
    check(num_steps, start, total)
    visited: np.ndarray
    if spacing == "linspace":
        visited = np.linspace(0, total - 1, num_steps)[::-1]
    elif spacing == "leading":
        ratio = total // num_steps
        visited = np.arange(num_steps)[::-1] * ratio + schedule.steps_offset
        visited = np.minimum(visited, total - 1)
    else:
        visited = trailing(total, num_steps)
    return visited[start:].astype("float64")


def trailing(total: int, num_steps: int) -> np.ndarray:
    """Gives timesteps in equal distances, the last timestep first."""
    ends = np.round(np.arange(num_steps, 0, -1) * (total / num_steps))
    return ends - 1


def check(num_steps: int, start: int, most: int) -> None:
    """Raises UsageError unless `0 <= start < num_steps <= most`."""
    if not 1 <= num_steps <= most:
        raise UsageError(
            f"the number of steps must lie in [1, {most}]. "
            f"Received: {num_steps}"
        )
    if not 0 <= start < num_steps:
        raise UsageError(
            f"there are {num_steps} steps. Received: {start} to leave out"
        )


def alphas_along(
    schedule: NoiseSchedule, visited: np.ndarray, final: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gives the share of data at each timestep and at the next.

    Args:
        schedule: of the noise.
        visited: whole timesteps, `(N,)`.
        final: the share after the last.
    """
    alphas = schedule.alphas[visited.astype(int)]
    return alphas, np.append(alphas[1:], final)


def sigmas(schedule: NoiseSchedule) -> np.ndarray:
    """Standard deviation of the noise over the factor of the data, `(T,)`."""
    alphas = schedule.alphas
    if schedule.zero_terminal_snr:
        alphas = np.maximum(alphas, SMALLEST_ALPHA)
    return np.sqrt((1 - alphas) / alphas)


def sigmas_at(schedule: NoiseSchedule, visited: np.ndarray) -> np.ndarray:
    """Interpolates between the sigmas of whole timesteps."""
    return np.interp(
        visited, np.arange(schedule.num_train_steps), sigmas(schedule)
    )


def karras_sigmas(
    largest: float, smallest: float, num_steps: int
) -> np.ndarray:
    """Gives sigmas whose seventh roots are in equal distances.

    Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based
    Generative Models", equation 5.
    """
    first, last = largest ** (1 / KARRAS_RHO), smallest ** (1 / KARRAS_RHO)
    return np.linspace(first, last, num_steps) ** KARRAS_RHO


def timesteps_of(schedule: NoiseSchedule, values: np.ndarray) -> np.ndarray:
    """Finds the timesteps of sigmas, linear in their logarithms."""
    known = np.log(sigmas(schedule))
    return np.interp(np.log(values), known, np.arange(len(known)))
