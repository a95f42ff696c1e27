"""What a workload is, and finding those in `benchmarks/workloads`."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import workloads
from benchmarks.results import Cost
from keras_multi.errors import UsageError
from keras_multi.portability import source


@dataclass(frozen=True)
class Setting:
    """How a contender is to run.

    Attributes:
        batch_size: examples per step.
        precision: a Keras dtype policy.
        mode: a mode of the backend, see `keras_multi.backend.modes`.
    """

    batch_size: int
    precision: str
    mode: str


class Contender(ABC):
    """Code that does the work of a workload and can be timed.

    Attributes:
        unjudged: why its output cannot be compared, or nothing.
    """

    unjudged: str = ""

    @abstractmethod
    def output(self) -> np.ndarray:
        """Does `Workload.output_steps` steps from the fixed start.

        Called once, before `run`. All contenders of a workload start from
        the same weights and data, so that their outputs must agree.

        Returns:
            A float array of the workload's choice, such as the losses.
        """

    @abstractmethod
    def run(self, steps: int) -> None:
        """Does some more steps, and returns when the last is finished."""


class Workload(ABC):
    """A piece of work, the same on every backend.

    Attributes:
        name: what the results call it; the harness sets it.
        batch_sizes: the batch sizes that are measured; the quick suite
            takes the first.
        unit: what `work` counts.
        output_steps: how many steps `Contender.output` does.
        tolerance: largest relative difference of outputs in float32.
    """

    name: str = ""
    batch_sizes: tuple[int, ...]
    unit: str = "examples"
    output_steps: int = 1
    tolerance: float = 1e-4

    def work(self, batch_size: int) -> float:
        """Units of work per step."""
        return batch_size

    def steps(self, batch_size: int) -> int:
        """Steps of one sample.

        A call such as `Model.fit` costs something however few its steps
        are, so all backends and all runs must do equally many. Only where a
        sample would take more than a second are there fewer.
        """
        return 16

    def cost(self, batch_size: int) -> Cost | None:
        """What a step has to do at least, where it is known."""
        return None

    @abstractmethod
    def build(self, setting: Setting) -> Contender:
        """Makes the Keras model ready to run."""

    def native(self, setting: Setting) -> Contender | None:
        """Makes the hand-written baseline of this backend, if there is one."""
        return None

    def peers(self, setting: Setting) -> Mapping[str, Contender]:
        """Makes other libraries' versions, those that are installed."""
        return {}


@dataclass
class Steps:
    """Hands out the rows of consecutive batches, and starts over at the end.

    Attributes:
        batch_size: rows of a batch.
        batches: number of batches in the data.
    """

    batch_size: int
    batches: int
    next: int = field(default=0, init=False)

    def take(self, steps: int) -> slice:
        """Rows of the next `steps` batches, which lie side by side."""
        if self.next + steps > self.batches:
            self.next = 0
        start = self.next * self.batch_size
        self.next += steps
        return slice(start, start + steps * self.batch_size)


def names() -> tuple[str, ...]:
    """Names the workloads: the modules in `benchmarks/workloads`."""
    return tuple(
        module.name
        for module in pkgutil.iter_modules(workloads.__path__)
        if not module.ispkg
    )


def load(name: str) -> Workload:
    """Imports a workload.

    Args:
        name: one of `names()`, or the path of a Python file with a
            `WORKLOAD`.

    Raises:
        UsageError: if there is none of this name, or its file has none.

    Example:
        >>> from benchmarks import workload
        >>> workload.load("dcn_train").batch_sizes
        (256, 4096)
    """
    check(name)
    module = (
        source.load_file(Path(name))
        if name.endswith(".py")
        else importlib.import_module(f"{workloads.__name__}.{name}")
    )
    found = getattr(module, "WORKLOAD", None)
    if not isinstance(found, Workload):
        raise UsageError(
            f"{name!r} needs a WORKLOAD, an instance of "
            f"benchmarks.workload.Workload. Received: {found!r}"
        )
    return found


def check(name: str) -> None:
    """Raises a UsageError if there is no workload of this name."""
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise UsageError(f"there is no workload file {name!r}")
    elif name not in names():
        raise UsageError(
            f"unknown workload {name!r}; choose one of {', '.join(names())}, "
            "or name a file that ends in .py"
        )


def label(subject: str) -> str:
    """The name of a workload or model in the results.

    Example:
        >>> from benchmarks import workload
        >>> workload.label("mine/cnn.py:build"), workload.label("mine/w.py")
        ('cnn.py:build', 'w')
    """
    if is_model(subject):
        return Path(subject).name
    return Path(subject).stem


def is_model(subject: str) -> bool:
    """Whether a subject is a user's model, `FILE.py:FUNCTION`."""
    return ".py:" in subject
