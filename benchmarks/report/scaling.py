"""How time grows: with the batch size, and with the number of steps."""

import math

import altair as alt
import numpy as np

from benchmarks.report import marks
from benchmarks.report.marks import Row
from benchmarks.report.rows import Chart, by_work, measured, row, title
from benchmarks.results import Cell, Measurement, Results
from benchmarks.table import figure

_LEAST_STEPS = 1e4
_POINTS = 41


def batch_sizes(results: Results) -> list[Chart]:
    """Throughput against batch size, for workloads with more than one."""
    groups: dict[str, list[Row]] = {}
    units = {}
    for cell, measurement in measured(results):
        speed = {"speed": measurement.throughput.median}
        groups.setdefault(cell.workload, []).append(
            row(cell, measurement) | speed
        )
        units[cell.workload] = measurement.unit
    charts = []
    for workload, rows in groups.items():
        if len({row["batch"] for row in rows}) > 1:
            unit = f"{units[workload]} per second"
            lines = marks.curves(
                rows, ("batch", "batch size"), ("speed", unit), points=True
            )
            charts.append(Chart(workload, "", marks.specification(lines)))
    return charts


def total_time(results: Results) -> list[Chart]:
    """Compile time and steps together, with the break-even of each variant."""
    return [
        _total_time(title(work), group)
        for work, group in by_work(results).items()
    ]


def break_even(measurement: Measurement, first: Measurement) -> float:
    """Steps after which one variant has overtaken another.

    The smallest whole n with c + n s <= c' + n s', of the compile times c and
    the seconds per step s; infinite where there is none.

    Args:
        measurement: a variant that takes as long to compile, or longer.
        first: the other.

    Example:
        >>> from benchmarks.report import scaling
        >>> scaling.break_even(measurement, first)  # doctest: +SKIP
        1234.0
    """
    late = measurement.compile_seconds - first.compile_seconds
    gain = first.timing.seconds.median - measurement.timing.seconds.median
    if late <= 0 and gain >= 0:
        return 0.0
    return float(math.ceil(late / gain)) if gain > 0 else math.inf


def _total_time(heading: str, group: list[tuple[Cell, Measurement]]) -> Chart:
    first = min((m for _, m in group), key=lambda m: m.compile_seconds)
    evens = [break_even(measurement, first) for _, measurement in group]
    longest = max([_LEAST_STEPS, *(n for n in evens if math.isfinite(n))])
    last = math.ceil(math.log10(longest * 1.5))
    curves, crossings = [], []
    for (cell, measurement), even in zip(group, evens, strict=True):
        seconds = measurement.timing.seconds.median
        names = row(cell, measurement)

        def total(
            steps: float, m: Measurement = measurement, s: float = seconds
        ) -> Row:
            return {"steps": steps, "total": m.compile_seconds + steps * s}

        curves += [
            names | total(float(steps))
            for steps in np.logspace(0, last, _POINTS)
        ]
        if 0 < even < math.inf:
            crossings.append(names | total(even))
    lines = marks.curves(
        curves, ("steps", "steps"), ("total", "seconds in all"), decades=True
    )
    layers = (
        [lines, marks.crossings(crossings, curves)] if crossings else [lines]
    )
    return Chart(
        heading,
        "",
        marks.specification(alt.layer(*layers)),
        ("variant", "break-even steps", "compile s", "ms per step"),
        tuple(_lines(group, evens, first)),
    )


def _lines(
    group: list[tuple[Cell, Measurement]],
    evens: list[float],
    first: Measurement,
) -> list[tuple[str, str, str, str]]:
    order = sorted(range(len(group)), key=lambda i: evens[i])
    lines = []
    for i in order:
        cell, measurement = group[i]
        if measurement is first:
            text = "compiles first"
        else:
            text = "never" if math.isinf(evens[i]) else f"{evens[i]:,.0f}"
        lines.append(
            (
                f"{cell.backend} {cell.mode} {cell.precision}",
                text,
                figure(measurement.compile_seconds),
                figure(measurement.timing.seconds.median * 1e3),
            )
        )
    return lines
