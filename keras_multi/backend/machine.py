"""The processor's cores, and what an NVIDIA driver tells; no framework."""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_multi.errors import UsageError


def cores() -> tuple[int, ...]:
    """Numbers of the CPU cores that this process may compute on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def threads() -> int:
    """Tells how many CPU cores this process may compute on."""
    return len(cores())


def set_affinity(chosen: Sequence[int]) -> None:
    """Confines this process to some CPU cores, alike on every backend.

    It sets the processor affinity, from which each framework sizes its
    thread pools when it starts. Call it before Keras is first imported.

    Args:
        chosen: numbers of the cores, each of which this process may use now.

    Raises:
        UsageError: if there is no core, one twice or one that this process
            may not use, if Keras is imported already, or if the system has
            no processor affinity.

    Example:
        >>> import os
        >>> from keras_multi import backend
        >>> core = min(os.sched_getaffinity(0))
        >>> backend.set_affinity([core])  # doctest: +SKIP
    """
    usable = _usable_cores()
    if not chosen:
        raise UsageError(f"choose at least one core. Received: {chosen}")
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"choose each core once. Received: {chosen}")
    if not set(chosen) <= set(usable):
        have = ", ".join(map(str, usable))
        raise UsageError(f"the cores here are {have}. Received: {chosen}")
    os.sched_setaffinity(0, chosen)


def set_threads(count: int) -> None:
    """Confines this process to the first cores of those it may use.

    See `set_affinity`.

    Args:
        count: number of cores, at least 1.

    Raises:
        UsageError: if `count` is not in the range of the cores here, or as
            `set_affinity`.
    """
    usable = _usable_cores()
    if not 1 <= count <= len(usable):
        raise UsageError(
            f"threads must lie in [1, {len(usable)}] here. Received: {count}"
        )
    set_affinity(usable[:count])


def _usable_cores() -> list[int]:
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError(
            f"cores cannot be chosen on {platform.system()}: it has no "
            "processor affinity"
        )
    if "keras" in sys.modules:
        raise UsageError("cores must be chosen before Keras is imported")
    return list(cores())


def cpu_name() -> str:
    """Names the model of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def nvidia_device() -> tuple[ModuleType, Any] | None:
    """Gives NVIDIA's library and its handle of the first device that CUDA has.

    Returns:
        The module `pynvml` (package `nvidia-ml-py`) and a device; `None`
        where there is no such package, driver or device.
    """
    try:
        import pynvml
    except ImportError:
        return None
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    try:
        pynvml.nvmlInit()
        if chosen.startswith("GPU-"):
            return pynvml, pynvml.nvmlDeviceGetHandleByUUID(chosen)
        if chosen.isdigit():
            return pynvml, pynvml.nvmlDeviceGetHandleByIndex(int(chosen))
    except pynvml.NVMLError:
        pass
    return None


def nvidia_details() -> tuple[str | None, float | None]:
    """Version of the driver and highest clock of the processor in MHz."""
    found = nvidia_device()
    if found is None:
        return None, None
    pynvml, handle = found
    try:
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        clock = pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)
    except pynvml.NVMLError:
        return None, None
    return driver, float(clock)
