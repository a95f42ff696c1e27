"""The commands `keras-multi recsys ...`."""

import json
import sys
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
from recsys.models import MODELS

app = typer.Typer(
    help="Recommenders: train, evaluate, recommend, serve.",
    no_args_is_help=True,
)


Artifact = Annotated[
    Path, typer.Option(help="Folder of a recommender, made by build.")
]


@app.callback()
def recsys() -> None:
    """Recommenders: train, evaluate, recommend, serve."""


@app.command()
def train(
    model: Annotated[
        str | None,
        typer.Option(
            help="; ".join(f"{name}: {m.about}" for name, m in MODELS.items()),
            show_default="dcn",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="blender, movielens-100k or adult.",
            show_default="movielens-100k",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/DATA-MODEL"),
    ] = None,
    config: Config = None,
    settings: Settings = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of seeds; a DNN beside each DCN.")
    ] = 1,
    backend: Backend = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant or cosine.")
    ] = None,
    embedding_dim: int | None = None,
    embeddings_l2: float | None = None,
    num_cross_layers: int | None = None,
    projection_dim: Annotated[
        int | None, typer.Option(help="Rank of the crosses; full by default.")
    ] = None,
    num_experts: int | None = None,
    deep_units: Annotated[
        str | None, typer.Option(help="Widths such as 192,192, or none.")
    ] = None,
    structure: Annotated[
        str | None, typer.Option(help="stacked or parallel.")
    ] = None,
    dropout: float | None = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs without improvement on a tenth "
            "of the training rows, kept apart."
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32, mixed_bfloat16, ...; auto measures these two and "
            "takes the faster."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The first seed.")] = None,
    as_json: Json = False,
) -> None:
    """Train a model and save it with its test metrics.

    What is not given comes from the file of --config, and else from the
    defaults of the data set.
    """
    from recsys import models

    options = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "embedding_dim": embedding_dim,
        "embeddings_l2": embeddings_l2,
        "num_cross_layers": num_cross_layers,
        "projection_dim": projection_dim,
        "num_experts": num_experts,
        "deep_units": None if deep_units is None else _widths(deep_units),
        "structure": structure,
        "dropout": dropout,
        "patience": patience,
        "precision": precision,
        "seed": seed,
        "data": data,
        "model": model,
    }
    defaults = {"data": "movielens-100k", "model": "dcn"}
    fields = fields_of(defaults, options, config, settings)
    name, source = fields.pop("model"), fields.pop("data")
    recipe = models.recipe(name, source, fields)
    folder = output or Path("runs") / f"{source}-{name}"

    select_backend(backend)
    result = models.train(name, recipe, seeds, folder)
    _show({**result, "output": str(folder)}, as_json)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Measure a trained model on the test rows of its data set."""
    select_backend(backend)
    from recsys import models

    _show(models.evaluate(run), as_json)


@app.command()
def build(
    retrieval: Annotated[
        Path, typer.Argument(help="Folder of a two-tower run.")
    ],
    ranking: Annotated[Path, typer.Argument(help="Folder of a dcn run.")],
    output: Annotated[
        Path, typer.Option(help="Folder of the artifact.")
    ] = Path("runs/recommender"),
    candidates: Annotated[
        int, typer.Option(help="Items that the ranker orders.")
    ] = 100,
    backend: Backend = None,
) -> None:
    """Put two trained models together to a recommender."""
    select_backend(backend)
    from recsys.assemble import from_runs

    version = from_runs(retrieval, ranking, candidates).save(output)
    typer.echo(f"saved version {version} in {output}", err=True)


@app.command()
def recommend(
    artifact: Artifact = Path("runs/recommender"),
    user: Annotated[
        str | None, typer.Option(help="Id; without it, what is popular.")
    ] = None,
    k: Annotated[int, typer.Option(help="Number of items.")] = 10,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Print the best items for a user, with scores and reasons."""
    select_backend(backend)
    from recsys.recommend import recommend as best

    items = best(artifact, user, k)
    if as_json:
        json.dump({"user": user, "items": items}, sys.stdout)
        sys.stdout.write("\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", "title", "score", "why", title=f"for user {user}")
    for place, item in enumerate(items, 1):
        why = "; ".join(reason["text"] for reason in item["reasons"])
        table.add_row(str(place), item["title"], f"{item['score']:.3f}", why)
    Console().print(table)


@app.command()
def serve(
    artifact: Artifact = Path("runs/recommender"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    backend: Backend = None,
) -> None:
    """Answer requests over HTTP until stopped; /docs describes them."""
    select_backend(backend)
    from recsys.serve.server import serve as run

    run(artifact, host, port)


@app.command()
def export(
    output: Annotated[Path, typer.Argument(help="Folder to write to.")],
    artifact: Artifact = Path("runs/recommender"),
    format: Annotated[
        str, typer.Option(help="onnx, saved_model, litert or openvino.")
    ] = "onnx",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Write the models of a recommender for other runtimes, and check them."""
    select_backend(backend)
    from recsys.export import export as write

    result = write(artifact, output, format)
    typer.echo(json.dumps(result, indent=None if as_json else 2))


def _widths(text: str) -> tuple[int, ...]:
    from keras_multi.errors import UsageError

    if text in ("", "none"):
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            "deep-units must be widths such as 192,192, or none. "
            f"Received: {text!r}"
        ) from error


def _show(result: dict[str, Any], as_json: bool) -> None:
    """Prints the metrics, and how seeds of a DCN and a DNN compare."""
    show_metrics(result, as_json)
    if (comparison := result.get("comparison")) and not as_json:
        typer.echo(
            "{metric} of {n} seeds: dcn {dcn_mean:.4f} ± {dcn_std:.4f}, "
            "dnn {dnn_mean:.4f} ± {dnn_std:.4f}; paired t-test p = "
            "{t_test_p:.2g}, Wilcoxon p = {wilcoxon_p:.2g}".format(
                n=len(result["seeds"]), **comparison
            )
        )
