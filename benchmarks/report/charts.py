"""How fast the cells are, and relative to what."""

from collections.abc import Callable

import altair as alt

from benchmarks import statistics
from benchmarks.report import marks
from benchmarks.report.marks import Row
from benchmarks.report.rows import Chart, by_work, measured, row, title
from benchmarks.results import Cell, Measurement, Results, Rival
from benchmarks.table import native, peer, peers


def throughput(results: Results) -> list[Chart]:
    """Work per second with intervals, one chart per workload and batch."""
    charts = []
    for work, group in by_work(results).items():
        rows = [row(c) | m.throughput.model_dump() for c, m in group]
        unit = group[0][1].unit
        dots = marks.dots(rows, "cell", "precision", f"{unit} per second")
        charts.append(Chart(title(work), "", marks.specification(dots)))
    return charts


def share_of_limit(results: Results) -> list[Chart]:
    """Shortest possible time over the measured one, in percent."""
    charts = []
    for work, group in by_work(results).items():
        rows = []
        for cell, measurement in group:
            share = cell.share_of_limit(measurement)
            if share is not None:
                seconds = measurement.timing.seconds
                shortest = 100 * share * seconds.median
                rows.append(
                    row(cell)
                    | {
                        "median": 100 * share,
                        "low": shortest / seconds.high,
                        "high": shortest / seconds.low,
                    }
                )
        if rows:
            dots = marks.dots(
                rows, "cell", "precision", "% of the limit", zero=True
            )
            chart = marks.specification(alt.layer(marks.rule(100.0), dots))
            charts.append(Chart(title(work), "", chart))
    return charts


def mixed_precision(results: Results) -> Chart | None:
    """Speed-up of the other precisions over float32 on the same backend."""
    plain = {
        (*_without_precision(cell), measurement.batch_size): measurement
        for cell, measurement in measured(results)
        if cell.precision == "float32"
    }
    rows = []
    for cell, measurement in measured(results):
        key = (*_without_precision(cell), measurement.batch_size)
        if cell.precision == "float32" or key not in plain:
            continue
        ratio = statistics.compare(
            measurement.timing.samples, plain[key].timing.samples
        ).ratio
        rows.append(row(cell, measurement) | ratio.model_dump())
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


def _without_precision(cell: Cell) -> tuple[str, str, str]:
    return cell.workload, cell.backend, cell.mode


def _rivals(
    results: Results,
    find: Callable[[Measurement], Rival | None],
    heading: str,
    note: str,
) -> Chart | None:
    rows = [
        row(cell, measurement) | rival.ratio.model_dump()
        for cell, measurement in measured(results)
        if (rival := find(measurement)) is not None
    ]
    return _ratios(rows, heading, note, "our time / its time")


def _ratios(
    rows: list[Row], heading: str, note: str, axis: str
) -> Chart | None:
    if not rows:
        return None
    dots = marks.dots(rows, "group", "variant", axis)
    chart = marks.specification(alt.layer(marks.rule(1.0), dots))
    return Chart(heading, note, chart)
