"""Samplers: from noise to data in few steps, as tables."""

from collections.abc import Callable

from diffusion.schedulers.ddim import DDIM
from diffusion.schedulers.ddpm import DDPM
from diffusion.schedulers.dpm_solver import DPMSolver
from diffusion.schedulers.euler import Euler, EulerAncestral
from diffusion.schedulers.lcm import LCM
from diffusion.schedulers.noise import NoiseSchedule
from diffusion.schedulers.plan import Plan
from diffusion.schedulers.pndm import PNDM
from diffusion.schedulers.scheduler import Scheduler
from keras_multi.errors import UsageError

__all__ = [
    "DDIM",
    "DDPM",
    "LCM",
    "NAMES",
    "PNDM",
    "DPMSolver",
    "Euler",
    "EulerAncestral",
    "NoiseSchedule",
    "Plan",
    "Scheduler",
    "by_name",
]

_SCHEDULERS: dict[str, Callable[[NoiseSchedule], Scheduler]] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "pndm": PNDM,
    "euler": Euler,
    "euler_karras": lambda schedule: Euler(schedule, karras=True),
    "euler_ancestral": EulerAncestral,
    "dpm_solver": DPMSolver,
    "dpm_solver_karras": lambda schedule: DPMSolver(schedule, karras=True),
    "dpm_solver_sde": lambda schedule: DPMSolver(schedule, sde=True),
    "dpm_solver_sde_karras": lambda schedule: DPMSolver(
        schedule, karras=True, sde=True
    ),
    "lcm": LCM,
}
NAMES = tuple(_SCHEDULERS)


def by_name(name: str, schedule: NoiseSchedule | None = None) -> Scheduler:
    """Makes a scheduler.

    Args:
        name: one of `NAMES`.
        schedule: of the noise that the model was trained with; that of
            Stable Diffusion 1 by default.

    Raises:
        UsageError: if there is no such scheduler.
    """
    if name not in _SCHEDULERS:
        raise UsageError(
            f"there is no scheduler {name!r}; there are {', '.join(NAMES)}"
        )
    return _SCHEDULERS[name](NoiseSchedule() if schedule is None else schedule)
