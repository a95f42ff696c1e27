"""Commands of the harness: `bench` and `compare`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from keras_multi import backend
from keras_multi.errors import UsageError

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout.")
]


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to an application."""
    app.command()(bench)
    app.command()(compare)


def bench(
    suite: Annotated[
        str, typer.Option(help="quick: default modes; full: all modes.")
    ] = "quick",
    workload: Annotated[
        list[str] | None, typer.Option(help="Workload; may be repeated.")
    ] = None,
    backends: Annotated[
        list[str] | None,
        typer.Option("--backend", help="Backend; may be repeated."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Keras dtype policy; may be repeated."),
    ] = None,
    matmul_precision: Annotated[
        str, typer.Option(help="Of float32 products on a GPU.")
    ] = "float32",
    time_limit: Annotated[
        float, typer.Option(help="Seconds that one cell may take.")
    ] = 600.0,
    output: Annotated[
        Path, typer.Option(help="Folder for results.json and report.html.")
    ] = Path("results"),
    as_json: Json = False,
) -> None:
    """Compare backends and precisions; each cell in a process of its own."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    from benchmarks import report, results, runner, table
    from benchmarks.workload import check, names

    _one_of("suite", suite, ("quick", "full"))
    for name in workload or ():
        check(name)
    for name in backends or ():
        backend.require(name)
    for name in precision or ():
        _one_of("precision", name, backend.PRECISIONS)
    _one_of("matmul precision", matmul_precision, backend.MATMUL_PRECISIONS)
    if time_limit <= 0:
        raise UsageError(f"--time-limit must be positive: {time_limit}")
    if not backend.available():
        backend.require()
    results.check_writable(output)

    plan = runner.Plan(
        suite=suite,
        workloads=tuple(workload or names()),
        backends=tuple(backends or backend.available()),
        precisions=tuple(precision or ("float32", "mixed_bfloat16")),
        matmul_precision=matmul_precision,
        time_limit=time_limit,
    )
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("starting", total=plan.ticks)
        run = runner.run(
            plan,
            lambda text, steps: progress.update(
                task, description=text, advance=steps
            ),
        )
    results.save(run, output / "results.json")
    report.write(run, output / "report.html")
    if as_json:
        typer.echo(run.model_dump_json())
    else:
        out = Console()
        width = out.width if out.is_terminal else max(out.width, 160)
        Console(width=width).print(table.table(run))
        console.print(f"wrote {output / 'results.json'} and report.html")
    if failed := runner.failures(run.cells):
        for line in failed:
            console.print(line, markup=False, highlight=False)
        raise typer.Exit(1)


def compare(
    base: Annotated[Path, typer.Argument(help="results.json before.")],
    new: Annotated[Path, typer.Argument(help="results.json after.")],
    threshold: Annotated[
        float, typer.Option(help="Smallest relative slowdown that counts.")
    ] = 0.05,
    as_json: Json = False,
) -> None:
    """Compare two runs cell by cell; exit code 1 on a regression."""
    from rich.console import Console

    from benchmarks import compare as comparing
    from benchmarks import results

    runs = results.load(base), results.load(new)
    rows = comparing.compare(*runs, threshold)
    warnings = comparing.warnings(*runs)
    if as_json:
        typer.echo(json.dumps(comparing.as_dict(rows, warnings)))
    else:
        console = Console(stderr=True)
        for warning in warnings:
            console.print(f"warning: {warning}", markup=False)
        out = Console()
        width = out.width if out.is_terminal else max(out.width, 130)
        Console(width=width).print(comparing.table(rows))
    if comparing.has_regression(rows):
        raise typer.Exit(1)


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(
            f"unknown {what} {value!r}; choose one of {', '.join(allowed)}"
        )
