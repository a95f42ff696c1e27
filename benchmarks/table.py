"""A run as a table: one row per cell and batch size.

The columns are defined once and serve the terminal, Markdown and the HTML
report.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks import statistics
from benchmarks.results import Cell, Estimate, Measurement, Results, Rival

MISSING = "–"
NOTES = "notes"
_LEAST_DRIFT = 0.01
_LEAST_WIDTH_OF_NOTES = 14
_MANY_COLUMNS = 9
# Headings in the terminal.
_SHORT = {"portability tax": "tax"}


@dataclass(frozen=True)
class Entry:
    """What one table cell shows.

    Attributes:
        text: the full text.
        value: what the column sorts by; `None` sorts last.
        short: a shorter text for the terminal, where there is one.
    """

    text: str
    value: float | str | None
    short: str = ""


@dataclass(frozen=True)
class Line:
    """One row: the cell's name, then its figures or why there are none.

    Attributes:
        status: status of the cell.
        names: workload, batch, backend, precision and mode.
        figures: the entries of the other columns; empty where the status is
            not `"ok"`.
        reason: why there are no figures.
    """

    status: str
    names: list[Entry]
    figures: list[Entry]
    reason: str


NAMES = ["workload", "batch", "backend", "precision", "mode"]


def lines(results: Results) -> tuple[list[str], list[Line]]:
    """The names of the figure columns and all rows, sorted by name.

    Args:
        results: the run.
    """
    columns = _columns(results)
    rows = []
    for cell in results.cells:
        if cell.status != "ok":
            reason = f"{cell.status}: {cell.reason or 'no reason given'}"
            rows.append(Line(cell.status, _names(cell, None), [], reason))
            continue
        for measurement in cell.measurements:
            names = _names(cell, measurement.batch_size)
            entries = [entry(cell, measurement) for entry in columns.values()]
            rows.append(Line(cell.status, names, entries, ""))
    rows.sort(key=_order)
    return list(columns), rows


def table(results: Results) -> Table:
    """The run as a Rich table.

    Args:
        results: the run.

    Example:
        >>> import rich
        >>> from benchmarks import table
        >>> rich.print(table.table(run))  # doctest: +SKIP
    """
    columns, rows = lines(results)
    figures = [name for name in columns if name != NOTES]
    noted = NOTES in columns or any(row.reason for row in rows)
    view = Table(
        title=f"Suite {results.suite}: medians, ± the 95 % interval",
        box=box.SIMPLE_HEAD,
        padding=(0, 0 if len(columns) > _MANY_COLUMNS else 1, 0, 0),
    )
    for name in NAMES:
        view.add_column(
            name,
            justify="right" if name == "batch" else "left",
            no_wrap=name != "workload",
            overflow="fold",
        )
    for name in figures:
        heading = "\n".join(_SHORT.get(name, name).rsplit(" ", 1))
        view.add_column(heading, justify="right", no_wrap=True, overflow="fold")
    if noted:
        view.add_column(NOTES, min_width=_LEAST_WIDTH_OF_NOTES, overflow="fold")
    for row in rows:
        entries = row.names + row.figures
        texts = [entry.short or entry.text for entry in entries]
        if row.reason:
            texts += [""] * len(figures) + [row.reason]
        view.add_row(
            *(Text(text) for text in texts),
            style="red" if row.reason else None,
        )
    return view


def markdown(results: Results) -> str:
    """The run as a Markdown table, for a README.

    Args:
        results: the run.
    """
    columns, rows = lines(results)
    header = NAMES + columns
    aligned = [
        "---:" if name != NOTES and name in ["batch", *columns] else "---"
        for name in header
    ]
    body = []
    for row in rows:
        texts = [entry.text for entry in row.names + row.figures]
        if row.reason:
            texts += [row.reason] + [""] * (len(columns) - 1)
        body.append([_escaped(text) for text in texts])
    return "".join(
        f"| {' | '.join(texts)} |\n"
        for texts in [[_escaped(name) for name in header], aligned, *body]
    )


def figure(value: float) -> str:
    """A number with three significant digits and no exponent.

    Example:
        >>> from benchmarks import table
        >>> table.figure(0.012345), table.figure(1234.5)
        ('0.0123', '1,230')
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:.0f}"
    rounded = float(f"{value:.3g}")
    digits = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(digits, 0)}f}"


def interval(estimate: Estimate, scale: float = 1.0) -> str:
    """A median with its interval, as `"1.23 [1.20, 1.27]"`.

    Args:
        estimate: the median and its interval.
        scale: factor for all three numbers, such as 1000 for milliseconds.
    """
    low, high = figure(estimate.low * scale), figure(estimate.high * scale)
    return f"{figure(estimate.median * scale)} [{low}, {high}]"


def spread(estimate: Estimate, scale: float = 1.0) -> str:
    """A median with its wider half interval in percent, as `"1.23 ±3%"`.

    Args:
        estimate: the median and its interval.
        scale: factor for the median, such as 1000 for milliseconds.
    """
    half = max(estimate.high - estimate.median, estimate.median - estimate.low)
    percent = 100 * half / estimate.median
    return f"{figure(estimate.median * scale)} ±{percent:.0f}%"


def native(measurement: Measurement) -> Rival | None:
    """The hand-written baseline of a measurement."""
    return measurement.native


def peer(name: str) -> Callable[[Measurement], Rival | None]:
    """A function that finds one peer in a measurement."""
    return lambda measurement: measurement.peers.get(name)


def peers(results: Results) -> list[str]:
    """Names of all peers in a run, sorted."""
    return sorted(
        {
            name
            for cell in results.cells
            for measurement in cell.measurements
            for name in measurement.peers
        }
    )


def notes(measurement: Measurement) -> list[str]:
    """What a reader should know of a measurement before trusting it.

    A drift of less than one percent is not told.

    Args:
        measurement: one of a cell's.

    Example:
        >>> from benchmarks import table
        >>> table.notes(measurement)  # doctest: +SKIP
        ['drift +12 %', '3 outliers']
    """
    samples = measurement.timing.samples
    drift, outliers = statistics.drift(samples), statistics.outliers(samples)
    told = []
    if measurement.chosen:
        told.append(f"took {measurement.chosen}")
    if measurement.unjudged:
        told.append(f"not judged: {measurement.unjudged}")
    if abs(drift) >= _LEAST_DRIFT:
        told.append(f"drift {100 * drift:+.0f} %")
    if outliers:
        told.append(f"{outliers} outlier{'s' if outliers > 1 else ''}")
    return told


_Column = Callable[[Cell, Measurement], Entry]


def _columns(results: Results) -> dict[str, _Column]:
    columns: dict[str, _Column] = {
        "ms per step": lambda _, m: _estimate(m.timing.seconds, 1e3),
        f"{_unit(results)} per s": _throughput,
        "compile s": lambda _, m: _number(m.compile_seconds),
        "peak MiB": lambda cell, _: _memory(cell.peak_memory_bytes),
    }
    if any(cell.peak_device_bytes is not None for cell in results.cells):
        columns["device MiB"] = lambda c, _: _memory(c.peak_device_bytes)
    columns["parity error"] = _parity
    columns["portability tax"] = _ratio(native)
    for name in peers(results):
        columns[f"time / {name}"] = _ratio(peer(name))
    optional: dict[str, _Column] = {
        "share of limit": _share,
        "J per step": _joules,
        NOTES: _notes,
    }
    columns |= {
        name: column
        for name, column in optional.items()
        if any(
            column(cell, measurement).value is not None
            for cell in results.cells
            if cell.status == "ok"
            for measurement in cell.measurements
        )
    }
    return columns


def _share(cell: Cell, measurement: Measurement) -> Entry:
    share = cell.share_of_limit(measurement)
    if share is None:
        return Entry(MISSING, None)
    return Entry(f"{figure(100 * share)} %", share, f"{100 * share:.0f}%")


def _joules(_: Cell, measurement: Measurement) -> Entry:
    joules = measurement.joules
    return Entry(MISSING, None) if joules is None else _number(joules)


def _notes(_: Cell, measurement: Measurement) -> Entry:
    told = notes(measurement)
    text = ", ".join(told)
    short = ", ".join(note.split(":")[0].replace(" %", "%") for note in told)
    return Entry(text, text or None, short)


def _parity(_: Cell, measurement: Measurement) -> Entry:
    error = measurement.parity_error
    return Entry(MISSING if error is None else f"{error:.1e}", error)


def _ratio(find: Callable[[Measurement], Rival | None]) -> _Column:
    def entry(cell: Cell, measurement: Measurement) -> Entry:
        rival = find(measurement)
        return Entry(MISSING, None) if rival is None else _estimate(rival.ratio)

    return entry


def _throughput(cell: Cell, measurement: Measurement) -> Entry:
    median = measurement.throughput.median
    return Entry(figure(median), median)


def _unit(results: Results) -> str:
    units = {m.unit for cell in results.cells for m in cell.measurements}
    return units.pop() if len(units) == 1 else "work"


def _estimate(estimate: Estimate, scale: float = 1.0) -> Entry:
    return Entry(
        interval(estimate, scale), estimate.median, spread(estimate, scale)
    )


def _number(value: float) -> Entry:
    return Entry(figure(value), value)


def _memory(size: int | None) -> Entry:
    return Entry(MISSING, None) if size is None else _number(size / 2**20)


def _names(cell: Cell, batch_size: int | None) -> list[Entry]:
    batch = Entry(MISSING if batch_size is None else str(batch_size), None)
    if batch_size is not None:
        batch = Entry(batch.text, float(batch_size))
    backend, precision, mode = cell.key[1:]
    return [
        Entry(cell.workload, cell.workload),
        batch,
        *(Entry(name, name) for name in (backend, precision, mode)),
    ]


def _order(line: Line) -> tuple[str, float, list[str]]:
    workload, batch, *rest = line.names
    size = math.inf if batch.value is None else float(batch.value)
    return workload.text, size, [entry.text for entry in rest]


def _escaped(text: str) -> str:
    text = " ".join(text.split())
    for old, new in (("&", "&amp;"), ("<", "&lt;"), ("|", r"\|")):
        text = text.replace(old, new)
    return text
