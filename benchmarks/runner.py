"""Runs cells, each in a process of its own, and collects their results.

The cells of one workload are alive at the same time and take their samples
in turn, so that a machine that slows down slows all of them alike. Only one
of them computes at any time.
"""

import datetime
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import statistics
from benchmarks.child import CellFailed, Child
from benchmarks.results import (
    Cell,
    Environment,
    Measurement,
    Results,
    Rival,
    Status,
    Timing,
)
from benchmarks.worker import NATIVE, OURS, relative_error
from keras_multi import backend
from keras_multi.info import versions

# Relative differences that rounding to these types explains. The products of
# a cross network multiply the rounding of each factor.
LOW_PRECISION_TOLERANCE = {
    "mixed_bfloat16": 5e-2,
    "bfloat16": 5e-2,
    "mixed_float16": 1e-2,
}
MODES = {
    "jax": ("xla",),
    "torch": ("eager", "compile"),
    "tensorflow": ("xla", "graph"),
}


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        suite: `"quick"` takes the default mode of each backend, `"full"`
            all of them and more rounds.
        workloads: names of workloads.
        backends: names of installed backends; the first is the reference.
        precisions: Keras dtype policies.
        matmul_precision: see `keras_multi.backend.set_matmul_precision`.
        time_limit: seconds that a cell may compute.
    """

    suite: str
    workloads: tuple[str, ...]
    backends: tuple[str, ...]
    precisions: tuple[str, ...]
    matmul_precision: str = "float32"
    time_limit: float = 600.0

    @property
    def rounds(self) -> int:
        """Samples of each contender."""
        return 9 if self.suite == "quick" else 21

    @property
    def sample_seconds(self) -> float:
        """Wanted length of a sample."""
        return 0.1 if self.suite == "quick" else 0.5

    def cells(self, workload: str) -> list[tuple[str, str, str]]:
        """Backend, precision and mode of each cell of a workload."""
        return [
            (name, precision, mode)
            for precision in self.precisions
            for name in self.backends
            for mode in MODES[name][: 1 if self.suite == "quick" else None]
        ]

    @property
    def ticks(self) -> int:
        """Number of steps of the progress bar."""
        per_cell = 3 + self.rounds
        return sum(len(self.cells(w)) for w in self.workloads) * per_cell


Tick = Callable[[str, int], None]


class _Running:
    """A cell whose process is alive, or that failed."""

    def __init__(
        self, plan: Plan, workload: str, key: tuple[str, str, str]
    ) -> None:
        self.plan, self.workload, self.key = plan, workload, key
        self.left = plan.time_limit
        self.failure = ""
        self.device: dict[str, Any] = {}
        self.memory: dict[str, Any] = {}
        self.races: list[dict[str, Any]] = []
        seconds = str(plan.sample_seconds)
        self.child = Child(
            [workload, *key, plan.matmul_precision, seconds], key[0]
        )

    def ask(self, command: str | None) -> Any:
        """Sends a command and waits; a failure is kept, not raised."""
        if self.failure:
            return None
        start = time.monotonic()
        try:
            if command is not None:
                self.child.say(command)
            return self.child.answer(self.left)
        except CellFailed as error:
            self.failure = str(error)
            return None
        finally:
            self.left -= time.monotonic() - start


def run(plan: Plan, tick: Tick) -> Results:
    """Runs all cells of a plan.

    Args:
        plan: what to run.
        tick: called with a line on what is done now and the number of steps
            of `plan.ticks` that were finished.

    Returns:
        The results; a cell that died is a row that says why.
    """
    start = time.monotonic()
    cells: list[Cell] = []
    accelerators: set[str] = set()
    for workload in plan.workloads:
        running = _run_workload(plan, workload, tick)
        accelerators |= {
            cell.device["name"]
            for cell in running
            if cell.device.get("kind", "cpu") != "cpu"
        }
        cells += _judge(running)
    return Results(
        created=datetime.datetime.now(datetime.UTC),
        suite=plan.suite,
        seconds=time.monotonic() - start,
        matmul_precision=plan.matmul_precision,
        environment=environment(", ".join(sorted(accelerators)) or None),
        cells=cells,
    )


def _run_workload(plan: Plan, workload: str, tick: Tick) -> list[_Running]:
    """Runs the cells of a workload side by side, in turns."""
    running: list[_Running] = []
    try:
        for key in plan.cells(workload):
            running.append(_Running(plan, workload, key))
        # The frameworks load side by side; nothing is timed yet.
        for cell in running:
            cell.device = cell.ask(None) or {}
            tick(f"{workload}: starting {' '.join(cell.key)}", 1)
        for cell in running:
            tick(f"{workload}: compiling {' '.join(cell.key)}", 0)
            cell.memory = cell.ask("setup") or {}
            tick(f"{workload}: compiling {' '.join(cell.key)}", 1)
        for number in range(plan.rounds):
            first = number % len(running)
            for cell in running[first:] + running[:first]:
                cell.ask("round")
                tick(f"{workload}: round {number + 1} of {plan.rounds}", 1)
        for cell in running:
            cell.races = cell.ask("finish") or []
            tick(f"{workload}: finished", 1)
    finally:
        for cell in running:
            cell.child.kill()
    return running


def _judge(running: list[_Running]) -> list[Cell]:
    """Compares outputs with the reference cell's and drops wrong cells.

    The reference is the first float32 cell that ran; if there is none, the
    first cell that ran.
    """
    done = [cell for cell in running if not cell.failure]
    exact = [cell for cell in done if cell.key[1] == "float32"]
    references = (exact or done)[:1]
    cells = []
    for cell in running:
        if cell.failure:
            cells.append(_cell(cell, "failed", cell.failure))
            continue
        measurements = [
            _measurement(race, reference)
            for race, reference in zip(
                cell.races, references[0].races, strict=True
            )
        ]
        wrong = [
            reason
            for race, measurement in zip(cell.races, measurements, strict=True)
            if (reason := _wrong(race, measurement, cell.key[1]))
        ]
        status: Status = "wrong" if wrong else "ok"
        cells.append(_cell(cell, status, "; ".join(wrong), measurements))
    return cells


def _cell(
    running: _Running,
    status: Status,
    reason: str,
    measurements: list[Measurement] | None = None,
) -> Cell:
    name, precision, mode = running.key
    return Cell(
        workload=running.workload,
        backend=name,
        precision=precision,
        mode=mode,
        status=status,
        reason=reason,
        measurements=measurements or [],
        peak_memory_bytes=running.memory.get("process"),
        peak_device_bytes=running.memory.get("device"),
    )


def _measurement(
    race: dict[str, Any], reference: dict[str, Any]
) -> Measurement:
    ours = race["samples"][OURS]
    rivals = {
        name: Rival(
            timing=_timing(samples, race["steps"]),
            ratio=statistics.ratio_interval(ours, samples),
            error=race["errors"][name],
        )
        for name, samples in race["samples"].items()
        if name != OURS
    }
    timing = _timing(ours, race["steps"])
    steady = race["output_steps"] * timing.seconds.median
    return Measurement(
        batch_size=race["batch_size"],
        unit=race["unit"],
        work=race["work"],
        compile_seconds=max(0.0, race["first_seconds"] - steady),
        timing=timing,
        parity_error=relative_error(
            np.array(race["output"]), np.array(reference["output"])
        ),
        native=rivals.pop(NATIVE, None),
        peers=rivals,
    )


def _timing(samples: list[float], steps: int) -> Timing:
    return Timing(
        samples=samples,
        steps=steps,
        seconds=statistics.median_interval(samples),
    )


def _wrong(
    race: dict[str, Any], measurement: Measurement, precision: str
) -> str:
    """Says what is wrong with an output, or nothing."""
    tolerance = LOW_PRECISION_TOLERANCE.get(precision, race["tolerance"])
    errors = {"the reference cell": measurement.parity_error, **race["errors"]}
    return "; ".join(
        f"batch {measurement.batch_size}: output differs from {name} by "
        f"{error:.1e}, more than {tolerance:.0e}"
        for name, error in errors.items()
        if not error <= tolerance
    )


def environment(accelerator: str | None) -> Environment:
    """Describes the machine without importing a framework here.

    Args:
        accelerator: what the cells computed on, if it was no CPU.
    """
    import psutil

    frequency = psutil.cpu_freq()
    return Environment(
        platform=platform.platform(),
        python=platform.python_version(),
        processor=backend.cpu_name(),
        processor_mhz=frequency.current if frequency else None,
        cores=os.cpu_count() or 1,
        affinity=sorted(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        accelerator=accelerator,
        packages=versions(),
        commit=_commit(),
    )


def _commit() -> str | None:
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return git.stdout.strip() or None


def failures(cells: Iterable[Cell]) -> list[str]:
    """One line for each cell that is not ok."""
    return [
        f"{' '.join(cell.key)}: {cell.status}: {cell.reason}"
        for cell in cells
        if cell.status != "ok"
    ]
