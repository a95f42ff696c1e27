"""The commands `keras-multi nlp ...`."""

import math
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
from nlp.cli_encoder import encode, fill_mask
from nlp.options import (
    Compile,
    File,
    Model,
    Precision,
    Quantize,
    load_generator,
    print_json,
    texts_of,
)

app = typer.Typer(
    help="Language models: train, evaluate, generate, score, encode.",
    no_args_is_help=True,
)

Run = Annotated[Path, typer.Argument(help="Folder of a finished run.")]


@app.callback()
def nlp() -> None:
    """Language models: train, evaluate, generate, score, encode."""


@app.command()
def generate(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(help="Prompts; by default each line of stdin is one."),
    ] = None,
    model: Model = "gpt2_base_en",
    file: File = None,
    max_new_tokens: Annotated[int, typer.Option(help="At most so many.")] = 64,
    sampler: Annotated[
        str,
        typer.Option(
            help="greedy, random, top_k, top_p, min_p, typical, contrastive "
            "or beam."
        ),
    ] = "greedy",
    temperature: Annotated[
        float | None, typer.Option(help="Below 1: nearer to the best tokens.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Draw from the k best tokens.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Draw from the best with this probability."),
    ] = None,
    num_beams: Annotated[
        int | None, typer.Option(help="Number of beams of the beam search.")
    ] = None,
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1 against repetition.")
    ] = 1.0,
    no_repeat_ngram: Annotated[
        int, typer.Option(help="No sequence of so many tokens twice.")
    ] = 0,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="A string that ends a text; may be given again."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Answer instead of continuing.")
    ] = False,
    precision: Precision = "float32",
    quantize: Quantize = None,
    compiled: Compile = False,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Continue texts, or answer; a single one is shown while it grows."""
    texts = texts_of(prompts, file)
    chosen = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "num_beams": num_beams,
    }
    settings = {k: v for k, v in chosen.items() if v is not None}
    generator = load_generator(model, precision, backend, quantize, compiled)
    from nlp.generation.named import with_settings

    method = with_settings(sampler, settings)
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "sampler": method,
        "seed": seed,
        "stop": stop or (),
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram": no_repeat_ngram,
    }
    asked = texts
    if chat:
        from nlp.chat import prompt

        asked = [prompt(text, generator.tokenizer) for text in texts]
    if len(texts) == 1 and sampler != "beam" and not as_json:
        # The prompt waits for the first token: it may be refused.
        waiting = [] if chat else [texts[0]]

        def show(row: int, piece: str) -> None:
            _show("".join(waiting) + piece)
            waiting.clear()

        generator.generate(asked, callback=show, **options)
        sys.stdout.write("".join(waiting) + "\n")
        return
    results = generator.generate(asked, **options)
    if chat:
        pairs = zip(asked, results, strict=True)
        results = [text.removeprefix(start) for start, text in pairs]
    if as_json:
        rows = [
            {"prompt": text, "text": result}
            for text, result in zip(texts, results, strict=True)
        ]
        print_json({"model": model, "results": rows})
        return
    for result in results:
        typer.echo(result)


@app.command()
def chat(
    model: Model = "smollm2_135m_instruct",
    system: Annotated[
        str | None, typer.Option(help="What the model is told before all.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(help="Of an answer, at most.")
    ] = 256,
    sampler: Annotated[str, typer.Option(help="See generate.")] = "greedy",
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same answers.")
    ] = None,
    precision: Precision = "float32",
    quantize: Quantize = None,
    compiled: Compile = False,
    backend: Backend = None,
) -> None:
    """Talk with a model that was trained on conversations, until Ctrl-D."""
    generator = load_generator(model, precision, backend, quantize, compiled)
    from nlp.chat import Conversation

    talk = Conversation(
        generator, system, max_new_tokens, sampler=sampler, seed=seed
    )
    while True:
        typer.echo("> ", nl=False, err=True)
        if not (line := sys.stdin.readline()):
            return
        if line.strip():
            talk.answer(line.strip(), _show)
            _show("\n")


@app.command()
def score(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts; by default each line of stdin is one."),
    ] = None,
    model: Model = "gpt2_base_en",
    file: File = None,
    precision: Precision = "float32",
    quantize: Quantize = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Tell how probable the model finds texts."""
    lines = texts_of(texts, file)
    generator = load_generator(model, precision, backend, quantize)
    scores = generator.score(lines)
    rows = [
        {
            "text": line,
            "tokens": len(score.token_ids),
            "log_probability": score.log_probability,
            "perplexity": score.perplexity,
        }
        for line, score in zip(lines, scores, strict=True)
    ]
    total = sum(score.log_probability for score in scores)
    count = sum(row["tokens"] for row in rows)
    perplexity = math.exp(-total / count)
    if as_json:
        print_json({"model": model, "perplexity": perplexity, "results": rows})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("text", "tokens", "log-probability", "perplexity")
    for row in rows:
        table.add_row(
            row["text"],
            str(row["tokens"]),
            f"{row['log_probability']:.2f}",
            f"{row['perplexity']:.2f}",
        )
    table.add_row("all", str(count), f"{total:.2f}", f"{perplexity:.2f}")
    Console().print(table)


@app.command()
def train(
    data: Annotated[
        str | None,
        typer.Option(
            help="pydoc, or a text file in UTF-8.", show_default="pydoc"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/gpt2-DATA"),
    ] = None,
    config: Config = None,
    settings: Settings = None,
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Train a small GPT-2 from nothing and save it with its test metrics."""
    from nlp.recipe import Recipe

    options = {"data": data}
    recipe = Recipe.of(
        **fields_of({"data": "pydoc"}, options, config, settings)
    )
    folder = output or Path("runs") / f"gpt2-{Path(recipe.data).stem}"
    select_backend(backend)
    from nlp.train import train as run

    _show_metrics({**run(recipe, folder), "output": str(folder)}, as_json)


@app.command()
def evaluate(run: Run, backend: Backend = None, as_json: Json = False) -> None:
    """Measure a trained model on the test part of its text."""
    select_backend(backend)
    from nlp.train import evaluate as measure

    _show_metrics(measure(run), as_json)


def _show(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _show_metrics(result: dict[str, Any], as_json: bool) -> None:
    """Prints the metrics, and what the model has learned to write."""
    show_metrics(result, as_json)
    if "sample" in result and not as_json:
        typer.echo(result["sample"])


app.command()(encode)
app.command("fill-mask")(fill_mask)
