"""A run for other programs and places: a CSV file and a headline."""

import io
import math
from csv import DictWriter
from typing import Any

from benchmarks import statistics
from benchmarks.results import Cell, Measurement, Results
from benchmarks.table import figure, peers

_NAMES = ("workload", "backend", "precision", "mode", "status", "reason")
_FIGURES = (
    "batch_size",
    "unit",
    "work",
    "seconds",
    "seconds_low",
    "seconds_high",
    "samples",
    "steps",
    "drift",
    "outliers",
    "compile_seconds",
    "peak_memory_bytes",
    "peak_device_bytes",
    "parity_error",
    "unjudged",
    "operations",
    "bytes",
    "share_of_limit",
    "joules",
)


def csv(results: Results) -> str:
    """The run as comma-separated values, one row per measurement.

    Numbers are not rounded: seconds per step, bytes, joules per step, and
    shares and ratios as fractions. The portability tax is `native`, and each
    peer's ratio has its name. A cell that is not ok has one row without
    figures.

    Args:
        results: the run.

    Example:
        >>> from benchmarks import export
        >>> export.csv(run).splitlines()[0]  # doctest: +SKIP
        'workload,backend,precision,mode,status,reason,batch_size,unit,...'
    """
    rivals = ["native", *peers(results)]
    ratios = [name + end for name in rivals for end in ("", "_low", "_high")]
    file = io.StringIO()
    writer = DictWriter(
        file, [*_NAMES, *_FIGURES, *ratios], lineterminator="\n"
    )
    writer.writeheader()
    for cell in results.cells:
        names = {name: getattr(cell, name) for name in _NAMES}
        if cell.status != "ok":
            writer.writerow(names)
            continue
        for measurement in cell.measurements:
            writer.writerow(names | _figures(cell, measurement))
    return file.getvalue()


def headline(results: Results) -> str:
    """The run in one line, such as for a badge.

    The fastest backend is compared with each other one, in float32 or else in
    the first precision of the run: the fastest mode of each, the geometric
    mean over the batch sizes of a workload and over the workloads. Only work
    that all these backends did counts.

    Args:
        results: the run.

    Example:
        >>> from benchmarks import export
        >>> export.headline(run)  # doctest: +SKIP
        'dcn_train: jax 1.7x torch, 1.8x tensorflow (float32)'
    """
    parts = [_winner(results)]
    for status in ("failed", "wrong"):
        count = sum(cell.status == status for cell in results.cells)
        if count:
            parts.append(f"{count} {status}")
    if not results.complete:
        parts.append("incomplete")
    return "; ".join(parts)


def _figures(cell: Cell, measurement: Measurement) -> dict[str, Any]:
    timing, cost = measurement.timing, measurement.cost
    rivals = dict(measurement.peers)
    if measurement.native is not None:
        rivals["native"] = measurement.native
    figures = {
        "batch_size": measurement.batch_size,
        "unit": measurement.unit,
        "work": measurement.work,
        "seconds": timing.seconds.median,
        "seconds_low": timing.seconds.low,
        "seconds_high": timing.seconds.high,
        "samples": len(timing.samples),
        "steps": timing.steps,
        "drift": statistics.drift(timing.samples),
        "outliers": statistics.outliers(timing.samples),
        "compile_seconds": measurement.compile_seconds,
        "peak_memory_bytes": cell.peak_memory_bytes,
        "peak_device_bytes": cell.peak_device_bytes,
        "parity_error": measurement.parity_error,
        "unjudged": measurement.unjudged,
        "operations": None if cost is None else cost.operations,
        "bytes": None if cost is None else cost.bytes,
        "share_of_limit": cell.share_of_limit(measurement),
        "joules": measurement.joules,
    }
    for name, rival in rivals.items():
        figures[name] = rival.ratio.median
        figures[f"{name}_low"] = rival.ratio.low
        figures[f"{name}_high"] = rival.ratio.high
    return figures


_Times = dict[tuple[str, int], dict[str, Measurement]]


def _winner(results: Results) -> str:
    precisions = dict.fromkeys(
        cell.precision for cell in results.cells if cell.status == "ok"
    )
    if not precisions:
        return "no figures"
    precision = "float32" if "float32" in precisions else next(iter(precisions))
    fastest = _fastest(results, precision)
    backends = {name for times in fastest.values() for name in times}
    if len(backends) == 1:
        return _alone(backends.pop(), fastest, precision)
    shared = {
        key: times for key, times in fastest.items() if backends <= times.keys()
    }
    if not shared:
        return f"no work that {' and '.join(sorted(backends))} all did"
    seconds = {name: _mean_seconds(shared, name) for name in backends}
    first, *others = sorted(seconds, key=lambda name: seconds[name])
    ratios = ", ".join(
        f"{_times(seconds[other] / seconds[first])} {other}" for other in others
    )
    return f"{_scope(shared)}: {first} {ratios} ({precision})"


def _fastest(results: Results, precision: str) -> _Times:
    """The fastest measurement of each backend for each piece of work."""
    fastest: _Times = {}
    for cell in results.cells:
        if cell.status != "ok" or cell.precision != precision:
            continue
        for measurement in cell.measurements:
            key = (cell.workload, measurement.batch_size)
            times = fastest.setdefault(key, {})
            old = times.setdefault(cell.backend, measurement)
            if _seconds(measurement) < _seconds(old):
                times[cell.backend] = measurement
    return fastest


def _alone(backend: str, fastest: _Times, precision: str) -> str:
    if len(fastest) > 1:
        return f"{_count(fastest)} measured on {backend} alone ({precision})"
    [((workload, batch_size), times)] = fastest.items()
    measurement = times[backend]
    speed = figure(measurement.throughput.median)
    return (
        f"{workload}: {backend} {speed} {measurement.unit}/s at batch "
        f"{batch_size} ({precision})"
    )


def _mean_seconds(shared: _Times, backend: str) -> float:
    """Geometric mean over batch sizes, then over workloads."""
    logarithms: dict[str, list[float]] = {}
    for (workload, _), times in shared.items():
        logarithm = math.log(_seconds(times[backend]))
        logarithms.setdefault(workload, []).append(logarithm)
    means = [sum(values) / len(values) for values in logarithms.values()]
    return math.exp(sum(means) / len(means))


def _scope(shared: _Times) -> str:
    workloads = {workload for workload, _ in shared}
    if len(workloads) > 1:
        return f"geometric mean of {len(workloads)} workloads"
    [workload] = workloads
    if len(shared) > 1:
        return f"{workload}, geometric mean of {len(shared)} batch sizes"
    return workload


def _count(fastest: _Times) -> str:
    workloads = {workload for workload, _ in fastest}
    if len(workloads) > 1:
        return f"{len(workloads)} workloads"
    return f"{workloads.pop()} at {len(fastest)} batch sizes"


def _seconds(measurement: Measurement) -> float:
    return measurement.timing.seconds.median


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio < 9.95 else f"{ratio:.0f}x"
