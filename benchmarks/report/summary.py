"""One sentence per workload: which backend is fastest, and by how much."""

from dataclasses import dataclass

from benchmarks import statistics
from benchmarks.results import Cell, Estimate, Measurement, Results
from benchmarks.table import figure


@dataclass(frozen=True)
class _Entrant:
    """The fastest cell of one backend for a workload and batch size."""

    cell: Cell
    measurement: Measurement

    @property
    def seconds(self) -> Estimate:
        return self.measurement.timing.seconds

    def __str__(self) -> str:
        return f"{self.cell.backend} ({self.cell.mode}, {self.cell.precision})"


def sentences(results: Results) -> dict[str, str]:
    """One sentence per workload, by name, in the order of the run.

    For each batch size the fastest cell of each backend competes, whatever
    its precision and mode. The first wins only if its interval does not
    overlap the second's.

    Args:
        results: the run.
    """
    workloads = dict.fromkeys(cell.workload for cell in results.cells)
    return {name: _sentence(results, name) for name in workloads}


def _sentence(results: Results, workload: str) -> str:
    best: dict[int, dict[str, _Entrant]] = {}
    for cell in results.cells:
        if cell.workload != workload or cell.status != "ok":
            continue
        for measurement in cell.measurements:
            entrants = best.setdefault(measurement.batch_size, {})
            entrant = _Entrant(cell, measurement)
            old = entrants.setdefault(cell.backend, entrant)
            if entrant.seconds.median < old.seconds.median:
                entrants[cell.backend] = entrant
    if not best:
        return "No cell gave a figure."
    clauses = [
        f"at batch {batch_size}, {_clause(list(entrants.values()))}"
        for batch_size, entrants in sorted(best.items())
    ]
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def _clause(entrants: list[_Entrant]) -> str:
    entrants.sort(key=lambda entrant: entrant.seconds.median)
    first = entrants[0]
    if len(entrants) == 1:
        return f"only {first} gave a figure"
    second = entrants[1]
    if first.seconds.high >= second.seconds.low:
        return f"no clear winner between {first} and {second}"
    ratio = statistics.compare(
        first.measurement.timing.samples, second.measurement.timing.samples
    ).ratio
    return (
        f"{first} is fastest, {figure(ratio.median)} times the speed of "
        f"{second} (95 % interval {figure(ratio.low)} to {figure(ratio.high)})"
    )
