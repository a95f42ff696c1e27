"""The commands of `keras-multi vision` that train."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_multi.commands import (
    Backend,
    Config,
    Json,
    Settings,
    fields_of,
    select_backend,
    show_metrics,
)
from vision.recipe import DEFAULTS, Recipe

Data = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(DEFAULTS)}, or a folder with one folder of "
        "images for each class.",
        show_default="mnist-5k",
    ),
]
Augment = Annotated[
    str | None,
    typer.Option(
        help="Names such as cutmix,mixup,randaugment,flip,crop,erasing, or "
        "rand-m9-n2-mstd0.5; none for none."
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the images.")]
Seed = Annotated[int | None, typer.Option(help="The first seed.")]


def add_commands(app: typer.Typer) -> None:
    """Adds the commands to an application."""
    for command in (train, evaluate, augment, ablation):
        app.command()(command)


def train(
    data: Data = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="resnet to train from scratch, or a preset such as "
            "efficientnet_lite0_imagenet to fine-tune."
        ),
    ] = None,
    pretrained: Annotated[
        bool | None,
        typer.Option(help="Start from the trained weights of the preset."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/DATA-MODEL"),
    ] = None,
    config: Config = None,
    settings: Settings = None,
    augment: Augment = None,
    epochs: Epochs = None,
    batch_size: int | None = None,
    image_size: Annotated[
        int | None, typer.Option(help="Height and width in pixels.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd or adamw.")] = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    label_smoothing: float | None = None,
    ema: Annotated[
        float | None,
        typer.Option(help="Momentum of the average of the weights; 0: none."),
    ] = None,
    accumulation: Annotated[
        int | None, typer.Option(help="Batches of one update.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs without improvement on a tenth "
            "of the training images, kept apart."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32, mixed_bfloat16, ...; auto measures these two and "
            "takes the faster."
        ),
    ] = None,
    skip_damaged: Annotated[
        bool | None, typer.Option(help="Leave out files that are no images.")
    ] = None,
    seed: Seed = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 1,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Train a classifier and save it with its test metrics.

    What is not given comes from the file of --config, and else from the
    defaults of the data set. The same command after a crash goes on from the
    last full epoch.
    """
    options = {
        "data": data,
        "model": model,
        "pretrained": pretrained,
        "augment": _names(augment),
        "epochs": epochs,
        "batch_size": batch_size,
        "image_size": image_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "label_smoothing": label_smoothing,
        "ema": ema,
        "accumulation": accumulation,
        "patience": patience,
        "precision": precision,
        "skip_damaged": skip_damaged,
        "seed": seed,
    }
    recipe = _recipe(options, config, settings)
    folder = output or _run_folder(recipe)
    select_backend(backend)
    from vision import train as training

    if seeds == 1:
        result = training.train(recipe, folder)
    else:
        result = training.train_seeds(recipe, seeds, folder)
    show_metrics({**result, "output": str(folder)}, as_json)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Measure a trained classifier on the test images of its data set."""
    select_backend(backend)
    from vision.evaluate import evaluate as measure

    show_metrics(measure(run), as_json)


def augment(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path(
        "sheet.png"
    ),
    augment: Augment = "crop,flip,randaugment,mixup,cutmix",
    images: Annotated[int, typer.Option(help="Images, one a row.")] = 8,
    columns: Annotated[int, typer.Option(help="Variants of each.")] = 8,
    size: Annotated[int, typer.Option(help="Pixels of a side.")] = 128,
    seed: Annotated[int, typer.Option(help="Of the augmentation.")] = 0,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Show what augmentation makes of images, as a contact sheet."""
    select_backend(backend)
    from vision.sheet import augment as draw

    result = draw(
        folder, out, _names(augment) or (), images, columns, size, seed
    )
    typer.echo(json.dumps(result) if as_json else result["output"])


def ablation(
    data: Data = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the runs.", show_default="runs/DATA-ablation"
        ),
    ] = None,
    config: Config = None,
    settings: Settings = None,
    epochs: Epochs = None,
    seed: Seed = None,
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds.")] = 3,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Train without augmentation, with each kind of it, and with all."""
    options = {"data": data, "epochs": epochs, "seed": seed}
    recipe = _recipe(options, config, settings)
    folder = output or Path("runs") / f"{Path(recipe.data).name}-ablation"
    select_backend(backend)
    from vision.ablation import ablate

    result = ablate(recipe, seeds, folder)
    if as_json:
        typer.echo(json.dumps(result))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(
        *("augmentation", "test accuracy", "seconds"),
        title=f"{result['model']} on {result['data']}, {seeds} seeds, "
        f"{recipe.epochs} epochs ({result['backend']})",
    )
    for name, found in result["settings"].items():
        mean, deviation = (
            100 * found[key]["accuracy"] for key in ("test", "test_std")
        )
        table.add_row(
            *(name, f"{mean:.2f} ± {deviation:.2f} %"),
            f"{found['seconds']:.0f}",
        )
    Console().print(table)


def _recipe(
    options: dict[str, Any], config: Path | None, settings: list[str] | None
) -> Recipe:
    return Recipe.of(
        **fields_of({"data": "mnist-5k"}, options, config, settings)
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return () if text in ("", "none") else tuple(text.split(","))


def _run_folder(recipe: Recipe) -> Path:
    return Path("runs") / f"{Path(recipe.data).name}-{recipe.model}"
