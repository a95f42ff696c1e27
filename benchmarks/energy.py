"""Energy that the processors used, where the machine tells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from keras_multi.backend.machine import nvidia_device


@dataclass
class Counter:
    """A counter of energy that grows and may start over.

    Attributes:
        read: gives joules since some time in the past.
        span: joules at which it starts over; `None` if it never does.
        used: joules since this object was made.
    """

    read: Callable[[], float]
    span: float | None = None
    used: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._last = self.read()

    def advance(self) -> float:
        """Reads the counter and gives `used`."""
        now = self.read()
        step = now - self._last
        if step < 0:
            step += self.span or 0.0
        self._last = now
        self.used += max(0.0, step)
        return self.used


class Meter:
    """Energy of the processor packages and of the first NVIDIA device.

    It is that of the whole machine, whoever computes. RAPL, the counters of
    Intel's and AMD's processors, is read from Linux's powercap folder, in
    most systems by the administrator only; a package that cannot be read
    makes all of RAPL absent, since part of the energy would mislead.

    A RAPL counter starts over every few minutes under load (at 2**32 units
    of 61 microjoules or what the system says), so `joules` must be called
    more often than that.

    Args:
        root: Linux's powercap folder.

    Attributes:
        source: `"RAPL"`, `"NVML"`, `"RAPL and NVML"`, or `None` if this
            machine tells nothing.

    Example:
        >>> from benchmarks.energy import Meter
        >>> meter = Meter()
        >>> meter.joules() is None or meter.joules() >= 0
        True
    """

    def __init__(self, root: Path = Path("/sys/class/powercap")) -> None:
        found = {"RAPL": _rapl(root), "NVML": _nvml()}
        self._counters = [c for counters in found.values() for c in counters]
        names = [name for name, counters in found.items() if counters]
        self.source: str | None = " and ".join(names) or None

    def joules(self) -> float | None:
        """Joules used since this meter was made; never falls.

        `None` where there is no source, and from when one fails on.
        """
        if not self._counters:
            return None
        try:
            return sum(counter.advance() for counter in self._counters)
        except (OSError, ValueError):
            self._counters = []
            return None


def _rapl(root: Path) -> list[Counter]:
    """One counter for each processor package, but none for its parts."""
    try:
        return [
            Counter(
                _file_reader(domain / "energy_uj"),
                _microjoules(domain / "max_energy_range_uj"),
            )
            for domain in root.glob("intel-rapl:*")
            if (domain / "name").read_text().startswith("package")
        ]
    except (OSError, ValueError):
        return []


def _file_reader(path: Path) -> Callable[[], float]:
    return lambda: _microjoules(path)


def _microjoules(path: Path) -> float:
    return int(path.read_text()) / 1e6


def _nvml() -> list[Counter]:
    found = nvidia_device()
    if found is None:
        return []
    pynvml, device = found

    def read() -> float:
        try:
            used = pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from error
        return float(used) / 1e3

    try:
        return [Counter(read)]
    except OSError:
        return []
