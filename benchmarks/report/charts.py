"""What the report's charts show: their data, titles and notes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import altair as alt

from benchmarks import statistics
from benchmarks.report import marks
from benchmarks.results import Cell, Estimate, Measurement, Results, Rival
from benchmarks.table import native, peer, peers

_LEAST_COMPILE = 1e-3


@dataclass(frozen=True)
class Chart:
    """A chart with what stands around it.

    Attributes:
        title: its heading.
        note: how to read it, one or two sentences.
        specification: a Vega-Lite object.
    """

    title: str
    note: str
    specification: dict[str, Any]


def throughput(results: Results) -> list[Chart]:
    """Work per second with intervals, one chart per workload and batch."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    units = {}
    for cell, measurement in _measured(results):
        key = (cell.workload, measurement.batch_size)
        row = _row(cell) | measurement.throughput.model_dump()
        groups.setdefault(key, []).append(row)
        units[key] = measurement.unit
    return [
        Chart(
            f"{workload}, batch {batch_size}",
            "",
            marks.specification(
                marks.dots(
                    rows,
                    "cell",
                    "precision",
                    f"{units[workload, batch_size]} per second",
                )
            ),
        )
        for (workload, batch_size), rows in groups.items()
    ]


def mixed_precision(results: Results) -> Chart | None:
    """Speed-up of the other precisions over float32 on the same backend."""
    plain = {
        (*_without_precision(cell), measurement.batch_size): measurement
        for cell, measurement in _measured(results)
        if cell.precision == "float32"
    }
    rows = []
    for cell, measurement in _measured(results):
        key = (*_without_precision(cell), measurement.batch_size)
        if cell.precision == "float32" or key not in plain:
            continue
        ratio = statistics.compare(
            measurement.timing.samples, plain[key].timing.samples
        ).ratio
        rows.append(_row(cell, measurement) | ratio.model_dump())
    return _ratios(
        rows,
        "Mixed precision against float32",
        "float32 time over mixed-precision time on the same backend. Right of "
        "the line, mixed precision is faster.",
        "speed-up",
    )


def portability_tax(results: Results) -> Chart | None:
    """Keras time over the time of hand-written native code."""
    return _rivals(
        results,
        native,
        "Portability tax",
        "Keras time over the time of hand-written code for the same backend, "
        "measured in turn in one process. At 1.0 Keras costs nothing.",
    )


def peer_ratios(results: Results) -> list[Chart]:
    """Our time over each peer's, one chart per peer."""
    charts = [
        _rivals(
            results,
            peer(name),
            f"Against {name}",
            f"Our time over the time of {name} for the same work. Left of the "
            "line, we are faster.",
        )
        for name in peers(results)
    ]
    return [chart for chart in charts if chart is not None]


def compile_time(results: Results) -> Chart | None:
    """Compile time against the time of one step."""
    rows = [
        _row(cell, measurement)
        | {
            "seconds": measurement.compile_seconds,
            "shown": max(measurement.compile_seconds, _LEAST_COMPILE),
            "step": measurement.timing.seconds.median * 1e3,
        }
        for cell, measurement in _measured(results)
    ]
    if not rows:
        return None
    return Chart(
        "Compile time against run time",
        "Both axes are logarithmic. Compile time is the first call less one "
        "steady step; anything below 1 ms is drawn at 1 ms.",
        marks.specification(marks.scatter(rows)),
    )


def peak_memory(results: Results) -> list[Chart]:
    """Peak memory of each cell's process, one chart per workload."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for cell in results.cells:
        if cell.status == "ok" and cell.peak_memory_bytes is not None:
            size = cell.peak_memory_bytes / 2**20
            row = _row(cell) | {"size": size}
            groups.setdefault(cell.workload, []).append(row)
    return [
        Chart(workload, "", marks.specification(marks.bars(rows)))
        for workload, rows in groups.items()
    ]


def _measured(results: Results) -> Iterator[tuple[Cell, Measurement]]:
    for cell in results.cells:
        if cell.status == "ok":
            for measurement in cell.measurements:
                yield cell, measurement


def _without_precision(cell: Cell) -> tuple[str, str, str]:
    return cell.workload, cell.backend, cell.mode


def _row(cell: Cell, measurement: Measurement | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "workload": cell.workload,
        "backend": cell.backend,
        "precision": cell.precision,
        "mode": cell.mode,
        "cell": f"{cell.backend} {cell.mode}",
        "variant": f"{cell.backend} {cell.mode} {cell.precision}",
    }
    if measurement is not None:
        row["batch"] = measurement.batch_size
        row["group"] = f"{cell.workload} {measurement.batch_size}"
    return row


def _rivals(
    results: Results,
    find: Callable[[Measurement], Rival | None],
    title: str,
    note: str,
) -> Chart | None:
    rows = []
    for cell, measurement in _measured(results):
        rival = find(measurement)
        if rival is not None:
            ratio: Estimate = rival.ratio
            rows.append(_row(cell, measurement) | ratio.model_dump())
    return _ratios(rows, title, note, "our time / its time")


def _ratios(
    rows: list[dict[str, Any]], title: str, note: str, axis: str
) -> Chart | None:
    if not rows:
        return None
    dots = marks.dots(rows, "group", "variant", axis)
    chart = marks.specification(alt.layer(marks.rule(1.0), dots))
    return Chart(title, note, chart)
