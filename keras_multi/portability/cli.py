"""The command `check`."""

import json
from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command()(check)


def check(
    model: Annotated[
        str, typer.Argument(metavar="FILE.py:FUNCTION", help="Your own model.")
    ],
    backends: Annotated[
        list[str] | None,
        typer.Option("--backend", help="Backend; may be repeated."),
    ] = None,
    time_limit: Annotated[
        float, typer.Option(help="Seconds that one stage may take.")
    ] = 300.0,
    jit: Annotated[
        bool, typer.Option(help="Compile too, which takes longest.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout.")
    ] = False,
) -> None:
    """Does your Keras model do the same on every backend? Exit code 1 if not.

    FUNCTION takes no argument and returns a Keras model, (model, inputs) or
    (model, inputs, targets).
    """
    from rich.console import Console

    from keras_multi.portability.check import check_reference

    with Console(stderr=True).status("starting") as status:
        report = check_reference(
            model, backends, time_limit, jit, status.update
        )
    if as_json:
        typer.echo(json.dumps(report.as_dict()))
    else:
        out = Console()
        width = out.width if out.is_terminal else max(out.width, 120)
        Console(width=width).print(report.render())
    if not report.portable:
        raise typer.Exit(1)
