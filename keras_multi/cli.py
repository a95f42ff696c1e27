"""The command line: `keras-multi`.

Each domain and the harness bring their own commands in a module `cli` with
a Typer application `app`; they are named here and nowhere else. Modules with
commands import nothing heavy at the top, so that `--help` answers at once.
"""

import importlib
import json
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from keras_multi.errors import KerasMultiError

app = typer.Typer(
    name="keras-multi",
    help="One Keras 3 codebase on JAX, PyTorch and TensorFlow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

for commands in ("benchmarks.cli", "keras_multi.portability.cli"):
    importlib.import_module(commands).add_commands(app)
for domain in ("recsys", "vision", "nlp", "diffusion"):
    app.add_typer(importlib.import_module(f"{domain}.cli").app, name=domain)


@app.command()
def info(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Show the machine, the backends, their versions, devices and caches."""
    from keras_multi.info import describe, table

    description = describe()
    if as_json:
        typer.echo(json.dumps(description))
    else:
        from rich.console import Console

        Console().print(table(description))


def main() -> None:
    """Runs the command line; a user's error is one line and an exit code."""
    try:
        sys.exit(app(standalone_mode=False))
    except KerasMultiError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            sys.exit(2)
        _fail(error.format_message(), 2)
    except MemoryError:
        _fail("out of memory; use a smaller batch or model", 1)
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"{error.strerror}: {error.filename!r}", 1)


def _fail(message: str, exit_code: int) -> None:
    print("error:", " ".join(message.split()), file=sys.stderr, flush=True)
    # Threads of a framework may still run; nothing is left to be written.
    sys.stdout.flush()
    os._exit(exit_code)
