"""What the commands of the domains share: options and printed results.

It imports nothing heavy, so that `--help` answers at once.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Backend = Annotated[
    str | None,
    typer.Option(
        help="jax, torch or tensorflow. By default KERAS_BACKEND or keras.json."
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object and nothing else."),
]
Config = Annotated[
    Path | None, typer.Option(help="TOML file with fields of the recipe.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A field of the recipe; may be given again.",
    ),
]


def select_backend(name: str | None) -> None:
    """Makes Keras run on the backend of the option `--backend`.

    Compiled programs are kept beside the data sets: a command compiles what it
    did the last time.

    Args:
        name: of the backend; `None` for that of the environment or of
            `keras.json`.

    Raises:
        BackendError: if it is unknown, not installed, or Keras has started
            on another.
    """
    from keras_multi import backend

    backend.select(backend.configured() if name is None else name)
    backend.keep_compiled(compiled_dir())


def compiled_dir() -> Path:
    """The folder of compiled programs, beside the data sets."""
    from keras_multi.data.cache import default_cache_dir

    return default_cache_dir() / "compiled"


def fields_of(
    defaults: dict[str, Any],
    options: dict[str, Any],
    config: Path | None,
    settings: list[str] | None,
) -> dict[str, Any]:
    """Joins the fields of a recipe.

    Args:
        defaults: what holds if nothing else is said.
        options: of the command line; `None` where one was not given.
        config: TOML file, which goes before the defaults.
        settings: texts `NAME=VALUE`, which go before all else.

    Raises:
        UsageError: if the file or a setting cannot be read.
    """
    from keras_multi.fields import read_settings, read_toml

    fields = dict(defaults)
    if config is not None:
        fields |= read_toml(config)
    fields |= {k: v for k, v in options.items() if v is not None}
    return fields | read_settings(settings or ())


def show_metrics(result: dict[str, Any], as_json: bool) -> None:
    """Prints a result on stdout, as JSON or as a short table.

    Args:
        result: has `model`, `data`, `backend` and `test`, the metrics by
            name; maybe `test_std`, their deviations, and `output`, a folder.
        as_json: whether to print one JSON object.
    """
    if as_json:
        typer.echo(json.dumps(result))
        return
    from rich.console import Console
    from rich.table import Table

    title = f"{result['model']} on {result['data']} ({result['backend']})"
    deviations = result.get("test_std")
    table = Table("test metric", "value", title=title)
    for name, value in result["test"].items():
        spread = f" ± {deviations[name]:.2g}" if deviations else ""
        table.add_row(name, f"{value:.4g}{spread}")
    console = Console()
    console.print(table)
    if "output" in result:
        console.print(f"saved in {result['output']}")
