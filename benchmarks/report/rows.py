"""What all charts are made of: measurements as rows of names and numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.report.marks import Row
from benchmarks.results import Cell, Measurement, Results

Work = tuple[str, int]


@dataclass(frozen=True)
class Chart:
    """A chart with what stands around it.

    Attributes:
        title: its heading.
        note: how to read it, one or two sentences.
        specification: a Vega-Lite object.
        header: headings of the table below it, where there is one.
        lines: rows of that table.
    """

    title: str
    note: str
    specification: dict[str, Any]
    header: tuple[str, ...] = ()
    lines: tuple[tuple[str, ...], ...] = ()


def measured(results: Results) -> Iterator[tuple[Cell, Measurement]]:
    """All measurements of cells that are ok."""
    for cell in results.cells:
        if cell.status == "ok":
            for measurement in cell.measurements:
                yield cell, measurement


def by_work(results: Results) -> dict[Work, list[tuple[Cell, Measurement]]]:
    """The measurements of each workload and batch size."""
    groups: dict[Work, list[tuple[Cell, Measurement]]] = {}
    for cell, measurement in measured(results):
        key = (cell.workload, measurement.batch_size)
        groups.setdefault(key, []).append((cell, measurement))
    return groups


def title(work: Work) -> str:
    """Heading of a chart of one workload and batch size."""
    return f"{work[0]}, batch {work[1]}"


def row(cell: Cell, measurement: Measurement | None = None) -> Row:
    """The names of a cell, and of one batch size of it."""
    names: Row = {
        "workload": cell.workload,
        "backend": cell.backend,
        "precision": cell.precision,
        "mode": cell.mode,
        "cell": f"{cell.backend} {cell.mode}",
        "variant": f"{cell.backend} {cell.mode} {cell.precision}",
    }
    if measurement is not None:
        names["batch"] = measurement.batch_size
        names["group"] = f"{cell.workload} {measurement.batch_size}"
    return names
