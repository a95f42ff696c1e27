"""What a run makes of its cells: the parity gate, medians and ratios."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import statistics
from benchmarks.results import (
    Cell,
    Cost,
    Limits,
    Measurement,
    Rival,
    Status,
    Timing,
)
from benchmarks.worker import NATIVE, OURS, relative_error

# Relative differences that rounding to these types explains. The products of
# a cross network multiply the rounding of each factor.
LOW_PRECISION_TOLERANCE = {
    "mixed_bfloat16": 5e-2,
    "bfloat16": 5e-2,
    "mixed_float16": 1e-2,
}


@dataclass
class Outcome:
    """What the process of a cell told, or why it did not.

    Attributes:
        label: what the results call its workload or model.
        key: backend, precision and mode.
        failure: why there are no figures, or nothing.
        device: the device that it computed on.
        found: races, limits and source of energy, as the worker tells them.
    """

    label: str
    key: tuple[str, str, str]
    failure: str = ""
    device: dict[str, Any] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def races(self) -> list[dict[str, Any]]:
        """What the process measured."""
        races: list[dict[str, Any]] = self.found.get("races", [])
        return races


def pooled(repeats: list[list[Outcome]]) -> list[Outcome]:
    """Joins what several processes measured of each cell.

    Args:
        repeats: the outcomes of all cells, once for each repeat.

    Returns:
        One outcome a cell: the samples of all its processes one after the
        other, the largest error and memory, the mean energy and the first
        compile time; that of the process that failed, if one did. Rounds
        are numbered through all repeats, alike in all cells.
    """
    first = 0
    for outcomes in repeats:
        races = [race for cell in outcomes for race in cell.races]
        for race in races:
            race["rounds"] = list(
                range(first, first + len(race["samples"][OURS]))
            )
        first += max((len(race["rounds"]) for race in races), default=0)
    return [_pooled(list(cell)) for cell in zip(*repeats, strict=True)]


def _pooled(processes: list[Outcome]) -> Outcome:
    first = processes[0]
    for failed in processes:
        if failed.failure:
            return failed
    for later in processes[1:]:
        for race, other in zip(first.races, later.races, strict=True):
            for name, samples in race["samples"].items():
                samples += other["samples"][name]
            race["rounds"] += other["rounds"]
            for part in ("errors", "memory"):
                race[part] = _largest(race[part], other[part])
            if "chosen" in race:
                race["chosen"] += other["chosen"]
            if race["joules"] is not None:
                race["joules"] += other["joules"]
        if first.found["limits"]:
            _pool_limits(first.found["limits"], later.found["limits"])
    for race in first.races:
        if race["joules"] is not None:
            race["joules"] /= len(processes)
    return first


def _largest(ours: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value if value is None else max(value, other[name])
        for name, value in ours.items()
    }


def _pool_limits(limits: dict[str, Any], other: dict[str, Any]) -> None:
    for name in ("operations_per_second", "bytes_per_second"):
        limits[name] = max(limits[name], other[name])
    for name, samples in limits["samples"].items():
        samples += other["samples"][name]


def judge(outcomes: list[Outcome]) -> list[Cell]:
    """Compares outputs with the reference cell's and drops wrong cells.

    The reference is the first float32 cell that ran; if there is none, the
    first cell that ran. A user's model gives two cells for each process, one
    for prediction and one for training.
    """
    done = [cell for cell in outcomes if not cell.failure]
    exact = [cell for cell in done if cell.key[1] == "float32"]
    references = {
        (race["workload"], race["batch_size"]): race
        for cell in reversed(exact or done)
        for race in cell.races
    }
    costs = {
        (race["workload"], race["batch_size"]): race["cost"]
        for cell in reversed(done)
        for race in cell.races
        if race["cost"]
    }
    cells = []
    for cell in outcomes:
        if cell.failure:
            cells.append(_failed(cell))
            continue
        for name, races in itertools.groupby(
            cell.races, lambda race: race["workload"]
        ):
            cells.append(_cell(cell, name, list(races), references, costs))
    return cells


def _failed(outcome: Outcome) -> Cell:
    name, precision, mode = outcome.key
    return Cell(
        workload=outcome.label,
        backend=name,
        precision=precision,
        mode=mode,
        status="failed",
        reason=outcome.failure,
    )


_Races = dict[tuple[str, int], Any]


def _cell(
    outcome: Outcome,
    label: str,
    races: list[dict[str, Any]],
    references: _Races,
    costs: _Races,
) -> Cell:
    name, precision, mode = outcome.key
    measurements = []
    wrong = []
    for race in races:
        key = (label, race["batch_size"])
        measurement = _measurement(race, references[key], costs.get(key))
        measurements.append(measurement)
        if reason := _wrong(race, measurement, precision):
            wrong.append(reason)
    status: Status = "wrong" if wrong else "ok"
    memory = races[-1]["memory"]
    limits = outcome.found["limits"]
    return Cell(
        workload=label,
        backend=name,
        precision=precision,
        mode=mode,
        status=status,
        reason="; ".join(wrong),
        measurements=measurements,
        peak_memory_bytes=memory["process"],
        peak_device_bytes=memory["device"],
        limits=Limits.model_validate(limits) if limits else None,
    )


def _measurement(
    race: dict[str, Any], reference: dict[str, Any], cost: dict[str, Any] | None
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
        rounds=race["rounds"],
        parity_error=None
        if race["unjudged"]
        else relative_error(
            np.array(race["output"]), np.array(reference["output"])
        ),
        unjudged=race["unjudged"],
        cost=Cost.model_validate(cost) if cost else None,
        joules=race["joules"],
        chosen=", ".join(dict.fromkeys(race.get("chosen", ()))),
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
    tolerance = max(
        LOW_PRECISION_TOLERANCE.get(name, race["tolerance"])
        for name in race.get("chosen") or [precision]
    )
    errors = dict(race["errors"])
    if measurement.parity_error is not None:
        errors["the reference cell"] = measurement.parity_error
    return "; ".join(
        f"batch {measurement.batch_size}: output differs from {name} by "
        f"{error:.1e}, more than {tolerance:.0e}"
        for name, error in errors.items()
        if not error <= tolerance
    )
