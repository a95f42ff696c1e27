"""What a portability check found."""

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Group

OK, FAILED, NOTE, NOT_JUDGED = "ok", "failed", "note", "not judged"
_STYLES = {OK: "green", FAILED: "bold red", NOTE: "yellow", NOT_JUDGED: "dim"}


@dataclass(frozen=True)
class Finding:
    """One thing that ties a model to a backend, or makes backends part.

    Attributes:
        kind: a word for programs, such as `"framework"`, `"numpy"`,
            `"branch"`, `"layer"`, `"gradient"`, `"error"`.
        message: a sentence for people.
        backends: those it happens on; empty if it is in the source.
        layer: path of the layer or weight that it is about.
        error: largest difference, relative to the largest value; infinite
            if shapes differ or a value is not finite.
        file: the user's file.
        line: line in that file, from 1.
    """

    kind: str
    message: str
    backends: tuple[str, ...] = ()
    layer: str | None = None
    error: float | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        """The message with its place in front."""
        place = f"{self.file}:{self.line}: " if self.file else ""
        return place + self.message


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes:
        name: what was asked, such as `"outputs"`.
        status: `"ok"`, `"failed"`, `"note"` (worth knowing, no fault of
            portability) or `"not judged"`.
        detail: the answer in a few words: the largest error, or the reason.
        findings: what is wrong, the most telling first.
        seconds: time that the slowest backend took.
    """

    name: str
    status: str
    detail: str = ""
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """Whether a model does the same on every backend.

    Attributes:
        model: `FILE.py:FUNCTION`.
        backends: those that were compared; the first is the reference.
        checks: the questions, in the order they were asked.
        seconds: time that the whole check took.
    """

    model: str
    backends: tuple[str, ...]
    checks: tuple[Check, ...]
    seconds: float = 0.0

    @property
    def portable(self) -> bool:
        """Whether no check failed."""
        return all(check.status != FAILED for check in self.checks)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all checks."""
        return tuple(f for check in self.checks for f in check.findings)

    def __getitem__(self, name: str) -> Check:
        """The check of a name."""
        return {check.name: check for check in self.checks}[name]

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values that can be written as JSON."""
        plain = dataclasses.asdict(self)
        for check in plain["checks"]:
            for finding in check["findings"]:
                if not math.isfinite(finding["error"] or 0):
                    finding["error"] = None  # JSON has no infinity
        return {"portable": self.portable, **plain}

    def render(self) -> "Group":
        """Renders the report for the terminal."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table(title=f"{self.model} on {', '.join(self.backends)}")
        for column in ("check", "result", "detail", "s"):
            grid.add_column(
                column, justify="right" if column == "s" else "left"
            )
        for check in self.checks:
            grid.add_row(
                check.name,
                Text(check.status, _STYLES[check.status]),
                Text(check.detail),
                f"{check.seconds:.1f}",
            )
        lines = [Text(f"- {finding}") for finding in self.findings]
        verdict = "portable" if self.portable else "not portable"
        style = _STYLES[OK if self.portable else FAILED]
        return Group(grid, *lines, Text(verdict, style))
