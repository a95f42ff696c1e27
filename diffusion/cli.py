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
    candidates: Annotated[
        int | None,
        typer.Option(
            help="Noises for each picture, to choose from so that those of a "
            "prompt differ; 1: no choice."
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
    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[:SCALE]",
            help="Safetensors file of low-rank changes; may be given again.",
        ),
    ] = None,
    concept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Safetensors file of new words; may be given again.",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16, float16, ...; auto measures the first "
            "two and takes the faster."
        ),
    ] = None,
    low_memory: Annotated[
        bool,
        typer.Option(
            "--low-memory", help="Load the models in turn, one at a time."
        ),
    ] = False,
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
        "candidates": candidates,
        "seed": seed,
        "img_height": height,
        "img_width": width,
        "image": None if image is None else str(image),
        "mask": None if mask is None else str(mask),
        "strength": strength,
        "lora": lora or None,
        "concept": concept or None,
        "precision": precision,
        "grid": grid or None,
    }
    if source is None and not prompts:
        raise UsageError("give a prompt, or a picture with --from")
    select_backend(backend)
    from diffusion.generate import BEFORE, settled
    from diffusion.generate import Settings as PictureSettings
    from diffusion.generate import generate as make
    from diffusion.picture import settings_of

    fields = {} if source is None else BEFORE | settings_of(source)
    fields |= {name: v for name, v in given.items() if v is not None}
    settings = settled(PictureSettings.of(fields), low_memory)
    files = make(settings, output, low_memory=low_memory)
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
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder of captioned pictures (cat.png and cat.txt, or "
            "metadata.jsonl) to fine-tune a preset on; without it a preset "
            "is trained from nothing on emoji."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="What to fine-tune.", show_default="emoji"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="unet, lora, concept (a new word) or vae.",
            show_default="unet",
        ),
    ] = None,
    config: Config = None,
    settings: Settings = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Train a preset on emoji, or fine-tune one on captioned pictures."""
    options = {"data": data, "preset": preset, "method": method}
    if any(value is not None for value in options.values()):
        _fine_tune(options, output, config, settings, backend, as_json)
        return
    from diffusion.recipe import Recipe

    recipe = Recipe.of(**fields_of({}, {}, config, settings))
    select_backend(backend)
    from diffusion.train import train as run

    show_metrics({**run(recipe, output), "output": str(output)}, as_json)


def _fine_tune(
    options: dict[str, Any],
    output: Path,
    config: Path | None,
    settings: list[str] | None,
    backend: str | None,
    as_json: bool,
) -> None:
    from diffusion.fine_tuning import FineTuning
    from keras_multi.errors import UsageError

    fields = fields_of({}, options, config, settings)
    if not fields.get("data"):
        raise UsageError(
            "--preset and --method fine-tune on pictures of your own: give "
            "their folder with --data"
        )
    recipe = FineTuning.of(**fields)
    select_backend(backend)
    from diffusion.fine_tune import fine_tune

    show_metrics({**fine_tune(recipe, output), "output": str(output)}, as_json)


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
    candidates: Annotated[
        int,
        typer.Option(help="Noises for each of three pictures of a prompt."),
    ] = 4,
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

    result = measure(preset, steps, guidance, seed, candidates, sheet=sheet)
    show_metrics(result, as_json)
