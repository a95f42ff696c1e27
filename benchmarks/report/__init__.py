"""The report: one HTML file that holds a whole run and opens offline."""

from pathlib import Path

import altair
import jinja2
import vl_convert
from markupsafe import Markup

from benchmarks import export, table
from benchmarks.report import (
    charts,
    environment,
    resources,
    rounds,
    scaling,
    summary,
)
from benchmarks.report.rows import Chart
from benchmarks.results import Results, write_atomically

_SELECTED = ("workload", "backend", "precision")


def write(results: Results, path: Path) -> None:
    """Writes the report of a run.

    The page holds its style, its data and the Vega libraries, and asks
    nothing of the network.

    Args:
        results: the run.
        path: the file to write, such as `report.html`.

    Raises:
        ResultsError: if the file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from benchmarks import report
        >>> report.write(run, Path("report.html"))  # doctest: +SKIP
    """
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("benchmarks.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns, lines = table.lines(results)
    page = templates.get_template("report.html").render(
        results=results,
        headline=export.headline(results),
        unfinished=environment.unfinished(results),
        facts=environment.facts(results),
        summary=summary.sentences(results),
        names=table.NAMES,
        columns=columns,
        selects={
            place: sorted({line.names[place].text for line in lines})
            for place in map(table.NAMES.index, _SELECTED)
        },
        lines=lines,
        failures=[cell for cell in results.cells if cell.status != "ok"],
        sections=_sections(results),
        rounds=rounds.samples(results),
        vega=_vega(),
    )
    write_atomically(path, page)


def _sections(results: Results) -> list[tuple[str, str, list[Chart]]]:
    """Title, note and charts of each section that has any."""
    single = [
        charts.portability_tax(results),
        charts.mixed_precision(results),
        *charts.peer_ratios(results),
        resources.compile_time(results),
    ]
    sections = [
        (
            "Throughput",
            "Median work per second; lines are 95 % intervals. Further right "
            "is faster. The axis need not start at zero.",
            charts.throughput(results),
        ),
        (
            "Share of the limit",
            "The shortest time that the machine allows, by the rates of "
            "arithmetic and memory that it reached in the same rounds, over "
            "the time taken. At 100 % nothing is left to gain.",
            charts.share_of_limit(results),
        ),
        ("Comparisons", "", [chart for chart in single if chart is not None]),
        (
            "Batch size",
            "Median work per second against examples per step; both axes are "
            "logarithmic. A line that stays level gains nothing from larger "
            "batches.",
            scaling.batch_sizes(results),
        ),
        (
            "Total time and break-even",
            "Compile time and steps together. A point marks the break-even: "
            "from that number of steps on, a variant is ahead of the one that "
            "compiles first. Both axes are logarithmic.",
            scaling.total_time(results),
        ),
        (
            "Peak memory",
            "Largest memory of the process that ran the cell.",
            resources.memory(results),
        ),
        (
            "Energy",
            "Of the whole processor and accelerator, with all that ran on "
            "them. Further left is better.",
            resources.energy(results),
        ),
    ]
    return [section for section in sections if section[2]]


def _vega() -> Markup:
    """The Vega libraries, safe inside a script element."""
    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    bundle = vl_convert.javascript_bundle(
        "window.vegaEmbed = vegaEmbed;", vl_version=version
    )
    return Markup(bundle.replace("</script", r"<\/script"))
