"""The commands of encoders, `keras-multi nlp encode` and `fill-mask`."""

from typing import Annotated

import typer

from keras_multi.commands import Backend, Json
from nlp.options import (
    EncoderPreset,
    File,
    Precision,
    load_encoder,
    print_json,
    texts_of,
)


def encode(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts; by default each line of stdin is one."),
    ] = None,
    model: EncoderPreset = "roberta_base_en",
    file: File = None,
    precision: Precision = "float32",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Turn texts into vectors (--json), or tell how alike they are."""
    lines = texts_of(texts, file)
    vectors = load_encoder(model, precision, backend).encode(lines)
    if as_json:
        rows = [
            {"text": line, "vector": vector.tolist()}
            for line, vector in zip(lines, vectors, strict=True)
        ]
        print_json({"model": model, "results": rows})
        return
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = [str(i) for i in range(1, len(lines) + 1)]
    table = Table("", "text", *numbers, title="cosines of the vectors")
    for number, line, cosines in zip(
        numbers, lines, units @ units.T, strict=True
    ):
        table.add_row(number, line, *(f"{cosine:.3f}" for cosine in cosines))
    Console().print(table)


def fill_mask(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts with a gap, written as the model does: <mask> or "
            "[MASK]; by default each line of stdin is one."
        ),
    ] = None,
    model: EncoderPreset = "roberta_base_en",
    file: File = None,
    k: Annotated[int, typer.Option(help="Number of tokens for a gap.")] = 5,
    precision: Precision = "float32",
    backend: Backend = None,
    as_json: Json = False,
) -> None:
    """Find the most probable tokens for a gap in a text."""
    lines = texts_of(texts, file)
    encoder = load_encoder(model, precision, backend)
    found = [encoder.fill_mask(line, k) for line in lines]
    if as_json:
        rows = [
            {"prompt": line, "fillings": [one._asdict() for one in fillings]}
            for line, fillings in zip(lines, found, strict=True)
        ]
        print_json({"model": model, "results": rows})
        return
    for fillings in found:
        for one in fillings:
            typer.echo(f"{one.probability:7.4f}  {one.text}")
