"""Two runs against each other: what became slower, faster, or broke."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks import statistics
from benchmarks.results import Cell, Environment, Estimate, Measurement, Results
from benchmarks.table import interval
from keras_multi.errors import UsageError

SIGNIFICANCE = 0.05

Verdict = Literal["slower", "faster", "same", "missing", "new", "broken"]
Key = tuple[str, str, str, str, int | None]

_STYLES: dict[Verdict, str] = {
    "slower": "bold red",
    "broken": "bold red",
    "missing": "red",
    "faster": "green",
    "new": "cyan",
    "same": "dim",
}


@dataclass(frozen=True)
class Row:
    """One cell and batch size in both runs.

    Attributes:
        workload: name of the workload.
        backend: its backend.
        precision: its Keras dtype policy.
        mode: how the backend ran it.
        batch_size: examples per step; `None` for a cell without figures.
        verdict: `"slower"` or `"faster"`: the difference is beyond chance and
            beyond the threshold; `"broken"`: had figures and now has none,
            though it was run; `"missing"`: had figures and was not run;
            `"new"`: has no figures in the base; else `"same"`.
        ratio: new seconds over base seconds, where both have figures.
        p_value: two-sided Mann-Whitney, adjusted by Holm over all rows.
        reason: why the cell has no figures.
    """

    workload: str
    backend: str
    precision: str
    mode: str
    batch_size: int | None
    verdict: Verdict
    ratio: Estimate | None = None
    p_value: float | None = None
    reason: str = ""


def compare(base: Results, new: Results, threshold: float = 0.05) -> list[Row]:
    """Pairs the cells and batch sizes of two runs and judges each pair.

    A pair is `"slower"` only if its adjusted p-value is below 0.05, the
    interval of its ratio lies above 1, and the ratio exceeds
    `1 + threshold`; `"faster"` mirrors that. The test sees the spread within
    the runs, not the one from run to run, which the threshold has to cover.

    Args:
        base: the run to compare with.
        new: the run to judge.
        threshold: smallest relative change that counts.

    Returns:
        The rows of `base` in its order, then those that only `new` has. A
        cell that had no figures in `base` and was not run again has no row.

    Raises:
        UsageError: if `threshold` is negative or not finite.

    Example:
        >>> from benchmarks import compare
        >>> rows = compare.compare(base, new)  # doctest: +SKIP
        >>> compare.has_regression(rows)  # doctest: +SKIP
        False
    """
    if not (threshold >= 0 and math.isfinite(threshold)):
        raise UsageError(
            "the threshold must be a relative change such as 0.05. "
            f"Received: threshold={threshold}"
        )
    before, after = _measurements(base), _measurements(new)
    tests = {
        key: statistics.compare(
            before[key].timing.samples, after[key].timing.samples
        )
        for key in before
        if key in after
    }
    p_values = statistics.holm([test.p_value for test in tests.values()])
    judged = {
        key: Row(
            *key,
            verdict=_verdict(test.ratio, p_value, threshold),
            ratio=test.ratio,
            p_value=p_value,
        )
        for (key, test), p_value in zip(tests.items(), p_values, strict=True)
    }
    ran = {cell.key: cell for cell in new.cells}
    rows = [
        judged[key] if key in judged else _lost(key, ran.get(key[:4]))
        for key in before
    ]
    rows += [Row(*key, verdict="new") for key in after if key not in before]
    return rows + _without_figures(base, new)


def has_regression(rows: list[Row]) -> bool:
    """Whether any row is slower, broken or missing."""
    return any(row.verdict in ("slower", "broken", "missing") for row in rows)


def warnings(base: Results, new: Results) -> list[str]:
    """What makes two runs hard to compare, one line each.

    Args:
        base: the run to compare with.
        new: the run to judge.
    """
    lines = [
        f"{name} differs: {before} in the base, {after} in the new run"
        for name, before, after in _settings(base, new)
        if before != after
    ]
    before, after = _measurements(base), _measurements(new)
    pairs = [
        (len(before[key].timing.samples), len(after[key].timing.samples))
        for key in before
        if key in after
    ]
    if pairs:
        ours, theirs = min(pairs, key=sum)
        smallest = 2 / math.comb(ours + theirs, ours) * len(pairs)
        if smallest >= SIGNIFICANCE:
            lines.append(
                f"{ours} rounds against {theirs} are too few to show a "
                f"difference among {len(pairs)} comparisons; measure more "
                "rounds"
            )
    return lines


def table(rows: list[Row]) -> Table:
    """The rows as a Rich table."""
    view = Table(title="New run against base", box=box.SIMPLE_HEAD)
    for name in ("workload", "batch", "backend", "precision", "mode"):
        view.add_column(name, justify="right" if name == "batch" else "left")
    view.add_column("new / base", justify="right")
    view.add_column("adjusted p", justify="right")
    view.add_column("verdict")
    for row in rows:
        verdict = f"{row.verdict}: {row.reason}" if row.reason else row.verdict
        view.add_row(
            Text(row.workload),
            "" if row.batch_size is None else str(row.batch_size),
            Text(row.backend),
            Text(row.precision),
            Text(row.mode),
            "" if row.ratio is None else interval(row.ratio),
            "" if row.p_value is None else f"{row.p_value:.2g}",
            Text(verdict, style=_STYLES[row.verdict]),
        )
    return view


def as_dict(rows: list[Row], warnings: list[str]) -> dict[str, Any]:
    """The comparison as an object that `json.dumps` takes.

    Args:
        rows: what `compare` returned.
        warnings: what `warnings` returned.
    """
    return {
        "regression": has_regression(rows),
        "warnings": warnings,
        "rows": [
            asdict(row)
            | {"ratio": None if row.ratio is None else row.ratio.model_dump()}
            for row in rows
        ],
    }


def _measurements(run: Results) -> dict[Key, Measurement]:
    return {
        (*cell.key, measurement.batch_size): measurement
        for cell in run.cells
        if cell.status == "ok"
        for measurement in cell.measurements
    }


def _verdict(ratio: Estimate, p_value: float, threshold: float) -> Verdict:
    if p_value < SIGNIFICANCE:
        if ratio.low > 1 and ratio.median > 1 + threshold:
            return "slower"
        if ratio.high < 1 and ratio.median < 1 / (1 + threshold):
            return "faster"
    return "same"


def _lost(key: Key, cell: Cell | None) -> Row:
    if cell is None or cell.status == "ok":
        return Row(*key, verdict="missing")
    return Row(*key, verdict="broken", reason=_reason(cell))


def _without_figures(base: Results, new: Results) -> list[Row]:
    """Cells that have figures in neither run, but were run in the new one."""
    before = {cell.key: cell for cell in base.cells}
    rows = []
    for cell in new.cells:
        old = before.get(cell.key)
        if cell.status != "ok" and (old is None or old.status != "ok"):
            verdict: Verdict = "new" if old is None else "same"
            rows.append(Row(*cell.key, None, verdict, reason=_reason(cell)))
    return rows


def _reason(cell: Cell) -> str:
    return f"{cell.status}: {cell.reason}" if cell.reason else cell.status


def _settings(base: Results, new: Results) -> list[tuple[str, Any, Any]]:
    def packages(environment: Environment, name: str) -> str:
        return environment.packages.get(name, "not installed")

    fields = (
        "processor",
        "cores",
        "threads",
        "memory_bytes",
        "accelerator",
        "platform",
        "python",
    )
    one, other = base.environment, new.environment
    settings = [
        ("suite", base.suite, new.suite),
        ("matmul precision", base.matmul_precision, new.matmul_precision),
    ]
    settings += [
        (name.replace("_", " "), getattr(one, name), getattr(other, name))
        for name in fields
    ]
    settings += [
        (name, packages(one, name), packages(other, name))
        for name in sorted(one.packages.keys() | other.packages.keys())
    ]
    return settings
