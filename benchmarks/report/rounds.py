"""The raw samples, in the order they were taken."""

from benchmarks import statistics
from benchmarks.report import marks
from benchmarks.report.marks import Row
from benchmarks.report.rows import Chart, by_work, row, title
from benchmarks.results import Results


def samples(results: Results) -> list[Chart]:
    """Time of each round with outliers marked, per workload and batch."""
    charts = []
    for work, group in by_work(results).items():
        rows: list[Row] = []
        for cell, measurement in group:
            times = measurement.timing.samples
            low, high = statistics.fences(times)
            rows += [
                row(cell, measurement)
                | {
                    "round": number,
                    "step": 1e3 * seconds,
                    "outlier": not low <= seconds <= high,
                }
                for number, seconds in enumerate(times, 1)
            ]
        charts.append(
            Chart(title(work), "", marks.specification(marks.rounds(rows)))
        )
    return charts
