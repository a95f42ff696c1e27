"""What the cells need: compile time, memory and energy."""

from benchmarks.report import marks
from benchmarks.report.marks import Row
from benchmarks.report.rows import Chart, by_work, measured, row, title
from benchmarks.results import Results

_LEAST_COMPILE = 1e-3


def compile_time(results: Results) -> Chart | None:
    """Compile time against the time of one step."""
    rows = [
        row(cell, measurement)
        | {
            "seconds": measurement.compile_seconds,
            "shown": max(measurement.compile_seconds, _LEAST_COMPILE),
            "step": measurement.timing.seconds.median * 1e3,
        }
        for cell, measurement in measured(results)
    ]
    if not rows:
        return None
    return Chart(
        "Compile time against run time",
        "Both axes are logarithmic. Compile time is the first call less one "
        "steady step; anything below 1 ms is drawn at 1 ms.",
        marks.specification(marks.scatter(rows)),
    )


def memory(results: Results) -> list[Chart]:
    """Peak memory, one chart per workload and place that it is in."""
    groups: dict[str, list[Row]] = {}
    for cell in results.cells:
        if cell.status != "ok":
            continue
        for size, heading in (
            (cell.peak_memory_bytes, cell.workload),
            (cell.peak_device_bytes, f"{cell.workload}, accelerator"),
        ):
            if size is not None:
                shown = row(cell) | {"size": size / 2**20}
                groups.setdefault(heading, []).append(shown)
    return [
        Chart(heading, "", marks.specification(marks.bars(rows, "MiB")))
        for heading, rows in groups.items()
    ]


def energy(results: Results) -> list[Chart]:
    """Energy per work, one chart per workload and batch size."""
    charts = []
    for work, group in by_work(results).items():
        rows = [
            row(cell) | {"size": 1e3 * measurement.joules / measurement.work}
            for cell, measurement in group
            if measurement.joules is not None
        ]
        if rows:
            axis = f"J per 1,000 {group[0][1].unit}"
            chart = marks.specification(marks.bars(rows, axis))
            charts.append(Chart(title(work), "", chart))
    return charts
