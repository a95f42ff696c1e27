"""Commands of the harness: `bench` and `compare`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_multi import backend
from keras_multi.errors import ResultsError, UsageError

if TYPE_CHECKING:
    from benchmarks.plan import Plan
    from benchmarks.results import Results

# Of the code here, and of the base.
_FILES = "results.json", "base.json"
_THRESHOLD = 0.05

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout.")
]


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to an application."""
    app.command()(bench)
    app.command()(compare)


def bench(
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with these settings; options overrule."),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            help="quick: default mode, first batch size; full: all of them."
        ),
    ] = None,
    workload: Annotated[
        list[str] | None,
        typer.Option(help="Workload or its FILE.py; may be repeated."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Your own model, FILE.py:FUNCTION; may be repeated."),
    ] = None,
    backends: Annotated[
        list[str] | None,
        typer.Option("--backend", help="Backend; may be repeated."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Keras dtype policy, or auto for the faster of float32 and "
            "mixed_bfloat16; may be repeated."
        ),
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            help="xla, graph, eager or compile, where a backend has it; "
            "may be repeated."
        ),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(help="Examples per step; may be repeated."),
    ] = None,
    matmul_precision: Annotated[
        str | None, typer.Option(help="Of float32 products on a GPU.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Number of cores to compute on.")
    ] = None,
    affinity: Annotated[
        str | None, typer.Option(help="Cores to compute on, such as 0,1.")
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="Half width of a median's 95 % interval, relative to the "
            "median, that is precise enough."
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Seconds of sampling for one workload."),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(help="Fresh processes that measure a cell in turn."),
    ] = None,
    warm: Annotated[
        bool,
        typer.Option(help="Take programs that earlier processes compiled."),
    ] = False,
    base: Annotated[
        Path | None,
        typer.Option(
            help="Folder of another version of this project, measured in "
            "the same rounds and compared."
        ),
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds that one cell may take.")
    ] = None,
    memory_limit: Annotated[
        float | None, typer.Option(help="GiB that one cell may use.")
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Folder for the results and the report.")
    ] = Path("results"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cells, run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare backends and precisions; each cell in a process of its own.

    The same command goes on with a run that was interrupted. With a base,
    what is told last, or as JSON, is how the run compares with it.
    """
    from benchmarks import plan as planning
    from benchmarks import results, runner

    given = {
        "suite": suite,
        "workloads": workload,
        "models": model,
        "backends": backends,
        "precisions": precision,
        "modes": mode,
        "batch_sizes": batch_size,
        "matmul_precision": matmul_precision,
        "affinity": _cores(threads, affinity),
        "target": target,
        "budget": budget,
        "repeats": repeats,
        "warm": warm or None,
        "base": base,
        "time_limit": time_limit,
        "memory_limit": memory_limit and int(memory_limit * 2**30),
    }
    settings = {} if config is None else planning.read(config)
    plan = planning.make(
        settings | {k: v for k, v in given.items() if v is not None}
    )
    if dry_run:
        _show(plan, as_json)
        return
    results.check_writable(output)
    earlier = _earlier(plan, output)
    try:
        run, *others = _with_progress(plan, output, earlier)
    except KeyboardInterrupt:
        typer.echo(
            "interrupted; finished workloads are kept, and the same command "
            "goes on from there",
            err=True,
        )
        raise
    if not (others and as_json):
        _tell(run, output, _FILES[: 1 + len(others)], as_json)
    failed = runner.failures(run.cells)
    for line in failed:
        typer.echo(line, err=True)
    slower = [_tell_base(other, run, as_json) for other in others]
    if failed or any(slower):
        raise typer.Exit(1)


def _cores(threads: int | None, affinity: str | None) -> list[int] | None:
    if threads is not None and affinity is not None:
        raise UsageError("give --threads or --affinity, not both")
    if threads is not None:
        cores = backend.cores()
        if not 1 <= threads <= len(cores):
            raise UsageError(
                f"threads must lie in [1, {len(cores)}] here. "
                f"Received: {threads}"
            )
        return list(cores[:threads])
    if affinity is None:
        return None
    try:
        return [int(core) for core in affinity.split(",")]
    except ValueError as error:
        raise UsageError(
            f"affinity is a list of cores such as 0,1. Received: {affinity}"
        ) from error


def _show(plan: "Plan", as_json: bool) -> None:
    """Tells what would run."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.workload import label

    if as_json:
        typer.echo(plan.model_dump_json())
        return
    view = Table(title=f"{len(plan.subjects) * len(plan.cells())} cells")
    for name in ("workload", "backend", "precision", "mode"):
        view.add_column(name)
    for subject in plan.subjects:
        for cell in plan.cells():
            view.add_row(label(subject), *cell)
    Console().print(view)


def _earlier(plan: "Plan", output: Path) -> "list[Results] | None":
    """The interrupted run in the folder, if it can be gone on with."""
    from benchmarks import results, runner

    paths = [output / name for name in _FILES[: len(runner.versions(plan))]]
    if not all(path.exists() for path in paths):
        return None
    try:
        earlier = [results.load(path) for path in paths]
    except ResultsError:
        return None
    if not runner.resumable(earlier, plan):
        return None
    typer.echo(
        f"going on with an interrupted run: {', '.join(earlier[0].finished)} "
        "already finished",
        err=True,
    )
    return earlier


def _with_progress(
    plan: "Plan", output: Path, earlier: "list[Results] | None"
) -> "list[Results]":
    """Runs behind a progress bar; the results are whole at any time."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    from benchmarks import export, report, results, runner, table

    def save(runs: "list[Results]") -> None:
        for made, name in zip(runs, _FILES, strict=False):
            results.save(made, output / name)
        run = runs[0]
        report.write(run, output / "report.html")
        results.write_atomically(output / "results.md", table.markdown(run))
        results.write_atomically(output / "results.csv", export.csv(run))

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task("starting", total=len(plan.subjects))
        return runner.run(
            plan,
            lambda text, done: progress.update(
                task, description=text, completed=done
            ),
            save,
            earlier,
        )


def _tell(
    run: "Results", output: Path, files: tuple[str, ...], as_json: bool
) -> None:
    from rich.console import Console

    from benchmarks import export, table

    if as_json:
        typer.echo(run.model_dump_json())
        return
    out = Console()
    width = out.width if out.is_terminal else max(out.width, 160)
    out = Console(width=width)
    out.print(table.table(run))
    typer.echo(export.headline(run))
    typer.echo(
        f"wrote {', '.join(files)}, results.csv, results.md and report.html "
        f"to {output}",
        err=True,
    )


def compare(
    base: Annotated[Path, typer.Argument(help="results.json before.")],
    new: Annotated[Path, typer.Argument(help="results.json after.")],
    threshold: Annotated[
        float, typer.Option(help="Smallest relative slowdown that counts.")
    ] = _THRESHOLD,
    as_json: Json = False,
) -> None:
    """Compare two runs cell by cell; exit code 1 on a regression."""
    from benchmarks import results

    runs = results.load(base), results.load(new)
    if _tell_verdicts(*runs, threshold, as_json):
        raise typer.Exit(1)


def _tell_base(base: "Results", new: "Results", as_json: bool) -> bool:
    """Tells how a run compares with its base, and whether it is slower."""
    from benchmarks import runner

    for line in runner.failures(base.cells):
        typer.echo(f"base: {line}", err=True)
    return _tell_verdicts(base, new, _THRESHOLD, as_json)


def _tell_verdicts(
    base: "Results", new: "Results", threshold: float, as_json: bool
) -> bool:
    """Tells what became slower, and whether anything did."""
    from rich.console import Console

    from benchmarks import compare as comparing

    rows = comparing.compare(base, new, threshold)
    warnings = comparing.warnings(base, new)
    if as_json:
        typer.echo(json.dumps(comparing.as_dict(rows, warnings)))
    else:
        console = Console(stderr=True)
        for warning in warnings:
            console.print(f"warning: {warning}", markup=False)
        out = Console()
        width = out.width if out.is_terminal else max(out.width, 130)
        Console(width=width).print(comparing.table(rows))
    return comparing.has_regression(rows)
