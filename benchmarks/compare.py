"""Two runs against each other: what became slower, faster, or broke.

A machine that is shared is not as fast today as it was yesterday: repeated
runs of the same code differ by a tenth and more. What differs between two
runs is therefore judged against something that was measured in the same
rounds: the hand-written baseline in the same process, where there is one,
else the machine's own rates. Two versions of the code that were themselves
measured in the same rounds are judged against each other.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks import statistics
from benchmarks.results import (
    Cell,
    Environment,
    Estimate,
    Measurement,
    Results,
    programs,
)
from benchmarks.table import interval
from keras_multi.errors import UsageError

SIGNIFICANCE = 0.05

Verdict = Literal["slower", "faster", "same", "missing", "new", "broken"]
Key = tuple[str, str, str, str, int | None]
_Measured = tuple[Cell, Measurement]

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
        ratio: new over base, where both have figures: of the portability tax
            where `against` is `"native"`, of seconds otherwise.
        against: what was judged: `"rounds"`, the time relative to that of the
            base in the same round; `"native"`, the time relative to the
            hand-written baseline; or `"clock"`, the time alone.
        machine: how much slower (above 1) or faster the machine was in the
            new run, by its products and copies beside the cell; widens the
            threshold of a row that was judged by the clock.
        p_value: two-sided, of Wilcoxon's test where the rounds are the same,
            else of Mann and Whitney's; adjusted by Holm over all rows.
        reason: why the cell has no figures.
    """

    workload: str
    backend: str
    precision: str
    mode: str
    batch_size: int | None
    verdict: Verdict
    ratio: Estimate | None = None
    against: str = ""
    machine: tuple[float, ...] = ()
    p_value: float | None = None
    reason: str = ""


def compare(base: Results, new: Results, threshold: float = 0.05) -> list[Row]:
    """Pairs the cells and batch sizes of two runs and judges each pair.

    A pair is `"slower"` only if its adjusted p-value is below 0.05, the
    interval of its ratio lies above 1, and the ratio exceeds
    `1 + threshold`; `"faster"` mirrors that. Two runs of one session are
    compared round by round. Otherwise times are taken relative to the native
    baseline, round by round, where both runs have one. Where they have none,
    the ratio must exceed the threshold also after division by what the
    machine's matrix products and copies changed between the runs, each alone.
    The test sees the spread within the runs, not the one from run to run,
    which the threshold has to cover.

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
    pairs = _pairs(base, new)
    tests = [pair.compared() for pair in pairs.values()]
    p_values = statistics.holm([test.p_value for test in tests])
    judged = {
        key: Row(
            *key,
            verdict=_verdict(test.ratio, p_value, threshold, pair.machine),
            ratio=test.ratio,
            against=pair.against,
            machine=pair.machine,
            p_value=p_value,
        )
        for (key, pair), test, p_value in zip(
            pairs.items(), tests, p_values, strict=True
        )
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
    lines += _different_steps(before, after)
    pairs = list(_pairs(base, new).values())
    if pairs:
        least = max(pairs, key=lambda pair: pair.least_p_value)
        if least.least_p_value * len(pairs) >= SIGNIFICANCE:
            lines.append(
                f"{len(least.base)} rounds against {len(least.new)} are too "
                f"few to show a difference among {len(pairs)} comparisons; "
                "measure more rounds"
            )
    return lines


def _different_steps(
    before: dict[Key, _Measured], after: dict[Key, _Measured]
) -> list[str]:
    return [
        f"{' '.join(map(str, key))}: samples of {one} steps in the base, of "
        f"{other} in the new run; calls weigh differently"
        for key in before
        if key in after
        and (one := before[key][1].timing.steps)
        != (other := after[key][1].timing.steps)
    ]


def table(rows: list[Row]) -> Table:
    """The rows as a Rich table."""
    view = Table(title="New run against base", box=box.SIMPLE_HEAD)
    for name in ("workload", "batch", "backend", "precision", "mode"):
        view.add_column(name, justify="right" if name == "batch" else "left")
    view.add_column("new / base", justify="right")
    view.add_column("against")
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
            row.against,
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


@dataclass(frozen=True)
class _Pair:
    """Samples to be compared, and what the machine did meanwhile."""

    base: list[float]
    new: list[float]
    against: str
    machine: tuple[float, ...] = ()

    def compared(self) -> statistics.Comparison:
        """The test that fits the samples."""
        if self.against == "rounds":
            return statistics.compare_paired(self.base, self.new)
        return statistics.compare(self.base, self.new)

    @property
    def least_p_value(self) -> float:
        """What the test gives if the samples differ as much as they can."""
        n, m = len(self.base), len(self.new)
        return 2 / (2**n if self.against == "rounds" else math.comb(n + m, n))


def _pairs(base: Results, new: Results) -> dict[Key, _Pair]:
    """What both runs have, in the order of the base."""
    before, after = _measurements(base), _measurements(new)
    paired = base.session and base.session == new.session
    pair = _same_rounds if paired else _pair
    return {
        key: pair(before[key], after[key]) for key in before if key in after
    }


def _same_rounds(base: _Measured, new: _Measured) -> _Pair:
    one, other = (
        dict(zip(m.rounds, m.timing.samples, strict=True))
        for _, m in (base, new)
    )
    common = [number for number in one if number in other]
    return _Pair(
        [one[number] for number in common],
        [other[number] for number in common],
        "rounds",
    )


def _pair(base: _Measured, new: _Measured) -> _Pair:
    relative = [_relative_to_native(m) for _, m in (base, new)]
    if relative[0] is not None and relative[1] is not None:
        return _Pair(relative[0], relative[1], "native")
    machine: tuple[float, ...] = ()
    if base[0].limits is not None and new[0].limits is not None:
        one, other = base[0].limits.samples, new[0].limits.samples
        machine = tuple(
            float(np.median(other[name]) / np.median(one[name]))
            for name in one.keys() & other
        )
    return _Pair(
        base[1].timing.samples, new[1].timing.samples, "clock", machine
    )


def _relative_to_native(measurement: Measurement) -> list[float] | None:
    if measurement.native is None:
        return None
    ours, theirs = measurement.timing, measurement.native.timing
    return [a / b for a, b in zip(ours.samples, theirs.samples, strict=True)]


def _measurements(run: Results) -> dict[Key, _Measured]:
    return {
        (*cell.key, measurement.batch_size): (cell, measurement)
        for cell in run.cells
        if cell.status == "ok"
        for measurement in cell.measurements
    }


def _verdict(
    ratio: Estimate,
    p_value: float,
    threshold: float,
    machine: tuple[float, ...],
) -> Verdict:
    if p_value >= SIGNIFICANCE:
        return "same"
    slowest, fastest = max((1.0, *machine)), min((1.0, *machine))
    if ratio.low > 1 and ratio.median / slowest > 1 + threshold:
        return "slower"
    if ratio.high < 1 and ratio.median / fastest < 1 / (1 + threshold):
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
        ("compiled programs", programs(base), programs(new)),
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
