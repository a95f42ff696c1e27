"""The commands `keras-multi vision ...`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_multi.commands import Backend, Json, select_backend
from vision import train_cli

app = typer.Typer(
    help="Images: train, evaluate, classify, augment, explain, export.",
    no_args_is_help=True,
)

PRESET = "efficientnet_lite0_imagenet"
Preset = Annotated[
    str,
    typer.Option(
        help="A trained network (efficientnet_lite0_imagenet, MobileNetV2, "
        "resnet_18_imagenet, ...), a .keras file or the folder of a run."
    ),
]


@app.callback()
def vision() -> None:
    """Images: train, evaluate, classify, augment, explain, export."""


@app.command()
def classify(
    images: Annotated[
        list[str],
        typer.Argument(help="Files, folders or addresses of images."),
    ],
    preset: Preset = PRESET,
    top: Annotated[
        int, typer.Option(min=1, help="Number of classes of each image.")
    ] = 5,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images at once.")
    ] = 16,
    skip_damaged: Annotated[
        bool, typer.Option(help="Leave out what cannot be read.")
    ] = False,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Say what is in images: their most probable classes."""
    select_backend(backend)
    from vision.classify import classify as recognize

    result = recognize(images, preset, top, batch_size, skip_damaged)
    if as_json:
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("image", "class", "probability")
    for image in result["images"]:
        name = image["image"]
        for prediction in image["predictions"]:
            share = f"{prediction['probability']:.1%}"
            table.add_row(name, prediction["class"], share)
            name = ""
    Console().print(table)


@app.command()
def explain(
    image: Annotated[str, typer.Argument(help="File or address of an image.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path(
        "overlay.png"
    ),
    preset: Preset = PRESET,
    class_name: Annotated[
        str | None,
        typer.Option(
            "--class",
            help="Name or number of a class; the most probable by default.",
        ),
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Show what in an image speaks for a class (Grad-CAM)."""
    select_backend(backend)
    from vision.explain import explain as show

    result = show(image, out, preset, class_name)
    if as_json:
        typer.echo(json.dumps(result))
        return
    typer.echo(
        f"{result['class']} ({result['probability']:.1%}): {result['output']}"
    )


@app.command()
def export(
    output: Annotated[
        Path, typer.Argument(help="File, or folder of a SavedModel, to write.")
    ],
    preset: Preset = PRESET,
    format: Annotated[
        str, typer.Option(help="onnx, saved_model, litert or openvino.")
    ] = "onnx",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Write a classifier for other runtimes, and check it."""
    select_backend(backend)
    from vision.export import export as write

    result = write(output, preset, format)
    typer.echo(json.dumps(result, indent=None if as_json else 2))


train_cli.add_commands(app)
