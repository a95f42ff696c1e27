"""The report: one HTML file that holds a whole run and opens offline."""

from pathlib import Path

import altair
import jinja2
import vl_convert
from markupsafe import Markup

from benchmarks import table
from benchmarks.report import charts, summary
from benchmarks.results import Results, write_atomically


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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("benchmarks.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    columns, lines = table.lines(results)
    page = environment.get_template("report.html").render(
        results=results,
        summary=summary.sentences(results),
        names=table.NAMES,
        columns=columns,
        lines=lines,
        failures=[cell for cell in results.cells if cell.status != "ok"],
        sections=_sections(results),
        vega=_vega(),
    )
    write_atomically(path, page)


def _sections(results: Results) -> list[tuple[str, str, list[charts.Chart]]]:
    """Title, note and charts of each section that has any."""
    single = [
        charts.portability_tax(results),
        charts.mixed_precision(results),
        *charts.peer_ratios(results),
        charts.compile_time(results),
    ]
    sections = [
        (
            "Throughput",
            "Median work per second; lines are 95 % intervals. Further right "
            "is faster. The axis need not start at zero.",
            charts.throughput(results),
        ),
        ("Comparisons", "", [chart for chart in single if chart is not None]),
        (
            "Peak memory",
            "Largest resident memory of the process that ran the cell.",
            charts.peak_memory(results),
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
