"""The commands `keras-multi diffusion ...`."""

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

app = typer.Typer(
    help="Text to image: train, evaluate, generate.", no_args_is_help=True
)

Preset = Annotated[
    str,
    typer.Option(
        help="emoji, the folder of a diffusers pipeline or of a training, or "
        "hf://ORGANISATION/NAME."
    ),
]
Steps = Annotated[
    int | None, typer.Option(help="Number of steps of the sampler.")
]
Guidance = Annotated[
    float | None,
    typer.Option(help="How much more than without the prompt; 1: not at all."),
]


@app.callback()
def diffusion() -> None:
    """Text to image: train, evaluate, generate."""


@app.command()
def generate(
    prompts: Annotated[
        list[str] | None, typer.Argument(help="What to show.")
    ] = None,
    preset: Preset = "emoji",
    output: Annotated[
        Path | None,
        typer.Option(help="PNG file.", show_default="PROMPT.png"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Pictures of each prompt.")
    ] = None,
    negative: Annotated[
        str | None, typer.Option(help="What not to show.")
    ] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="ddpm, ddim, pndm, euler, euler_ancestral, dpm_solver, lcm, "
            "..."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same picture.")
    ] = None,
    height: Annotated[int | None, typer.Option(help="In pixels.")] = None,
    width: Annotated[int | None, typer.Option(help="In pixels.")] = None,
    image: Annotated[
        Path | None, typer.Option(help="Picture to change.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="White where the picture is to be made anew."),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="How much of the picture to change, 0 to 1."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, bfloat16, float16, ...")
    ] = None,
    grid: Annotated[
        bool,
        typer.Option("--grid", help="All in one file, a row for each prompt."),
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="PNG file that was made here: make it again, but for what "
            "else is given.",
        ),
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Make pictures of prompts; every setting is kept in the PNG file."""
    from keras_multi.errors import UsageError

    given: dict[str, Any] = {
        "prompt": prompts or None,
        "preset": preset if source is None or preset != "emoji" else None,
        "negative_prompt": negative,
        "batch_size": batch_size,
        "num_steps": steps,
        "guidance_scale": guidance,
        "scheduler": scheduler,
        "seed": seed,
        "img_height": height,
        "img_width": width,
        "image": None if image is None else str(image),
        "mask": None if mask is None else str(mask),
        "strength": strength,
        "precision": precision,
        "grid": grid or None,
    }
    if source is None and not prompts:
        raise UsageError("give a prompt, or a picture with --from")
    select_backend(backend)
    from diffusion.generate import Settings as PictureSettings
    from diffusion.generate import generate as make
    from diffusion.picture import settings_of

    fields = {} if source is None else settings_of(source)
    fields |= {name: v for name, v in given.items() if v is not None}
    settings = PictureSettings.of(fields)
    files = make(settings, output)
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps({"files": files, "settings": asdict(settings)}))
        return
    for file in files:
        typer.echo(file)


@app.command()
def train(
    output: Annotated[Path, typer.Option(help="Folder of the run.")] = Path(
        "runs/diffusion-emoji"
    ),
    config: Config = None,
    settings: Settings = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Train autoencoder, text encoder and UNet on emoji, with their names."""
    from diffusion.recipe import Recipe

    recipe = Recipe.of(**fields_of({}, {}, config, settings))
    select_backend(backend)
    from diffusion.train import train as run

    show_metrics({**run(recipe, output), "output": str(output)}, as_json)


@app.command()
def evaluate(
    preset: Annotated[
        str, typer.Argument(help="Folder of a training, or emoji.")
    ] = "emoji",
    steps: Annotated[int, typer.Option(help="Steps of the sampler.")] = 20,
    guidance: Annotated[
        float, typer.Option(help="How much more than without the prompt.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    sheet: Annotated[
        Path | None,
        typer.Option(help="PNG file for the pictures of the held-out pairs."),
    ] = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Measure the pictures of all captions, and of pairs not trained on."""
    select_backend(backend)
    from diffusion.evaluate import evaluate as measure

    result = measure(preset, steps, guidance, seed, sheet=sheet)
    show_metrics(result, as_json)
