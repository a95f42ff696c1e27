"""What all samplers have in common."""

import abc
from dataclasses import dataclass, field
from typing import ClassVar

from diffusion.schedulers.noise import NoiseSchedule
from diffusion.schedulers.plan import Plan


@dataclass(frozen=True)
class Scheduler(abc.ABC):
    """Goes from noise to data in a number of steps.

    Args:
        schedule: of the noise that the model was trained with.
    """

    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)

    usual_spacing: ClassVar = "leading"

    @property
    def spacing(self) -> str:
        """Which timesteps to visit, see `NoiseSchedule`."""
        return self.schedule.spacing or self.usual_spacing

    @abc.abstractmethod
    def plan(self, num_steps: int, start: int = 0) -> Plan:
        """Gives what to do in each step.

        Args:
            num_steps: number of timesteps to visit.
            start: how many of them to leave out, to start from data with
                some noise rather than from noise alone.

        Raises:
            UsageError: if a number is out of range.
        """
