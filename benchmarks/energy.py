"""Energy, where the machine tells it."""

import importlib.util
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
_JOULES_PER_MICROJOULE = 1e-6
_JOULES_PER_MILLIJOULE = 1e-3


class Meter:
    """Counts the energy of the processors and NVIDIA accelerators.

    Processors tell it through Linux's powercap interface (RAPL), by package,
    accelerators through NVML, if the package `pynvml` is there. Both count
    all that runs on them.

    Args:
        root: folder of the powercap interface.

    Attributes:
        source: where energy is read, such as `"RAPL"`; `None` where the
            machine does not tell.

    Example:
        >>> from benchmarks.energy import Meter
        >>> meter = Meter()
        >>> (meter.source is None) == (meter.joules() is None)
        True
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._packages = _packages(root)
        self._accelerators = _accelerators()
        named = {"RAPL": self._packages, "NVML": self._accelerators}
        self.source = " + ".join(n for n, found in named.items() if found) or (
            None
        )
        self._last = self._read()
        self._total = 0.0

    def joules(self) -> float | None:
        """Energy since the meter was made."""
        if self.source is None:
            return None
        now = self._read()
        for (before, wrap), (after, _) in zip(self._last, now, strict=True):
            self._total += after - before + (wrap if after < before else 0.0)
        self._last = now
        return self._total

    def _read(self) -> list[tuple[float, float]]:
        """Each counter in joules, and at how many it starts over."""
        processors = [
            tuple(
                int((package / name).read_text()) * _JOULES_PER_MICROJOULE
                for name in ("energy_uj", "max_energy_range_uj")
            )
            for package in self._packages
        ]
        accelerators = [
            (_nvml_millijoules(device) * _JOULES_PER_MILLIJOULE, 0.0)
            for device in self._accelerators
        ]
        return [(a, b) for a, b in processors] + accelerators


def _packages(root: Path) -> list[Path]:
    """The powercap folders of whole packages that can be read."""
    found = []
    for package in sorted(root.glob("*-rapl:*")):
        try:
            if not (package / "name").read_text().startswith("package"):
                continue
            int((package / "energy_uj").read_text())
            int((package / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            continue
        found.append(package)
    return found


def _accelerators() -> list[Any]:
    if importlib.util.find_spec("pynvml") is None:
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
        devices = [
            pynvml.nvmlDeviceGetHandleByIndex(i)
            for i in range(pynvml.nvmlDeviceGetCount())
        ]
        for device in devices:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
    except pynvml.NVMLError:
        return []
    return devices


def _nvml_millijoules(device: Any) -> int:
    import pynvml

    total: int = pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
    return total
