"""What the commands of this domain share: options, texts and models."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_multi.commands import select_backend

QUANTIZATIONS = ("int8",)
# What is timed where the precision is chosen.
SAMPLE_TOKENS = 16
SAMPLE = "The quick brown fox jumps over the lazy dog."

Model = Annotated[
    str,
    typer.Option(
        help="Preset (gpt2_base_en, smollm2_135m_instruct), "
        "hf://ORGANISATION/NAME, a folder, or a GGUF file."
    ),
]
EncoderPreset = Annotated[
    str,
    typer.Option(
        "--model",
        help="Preset of keras-nlp (roberta_base_en, albert_base_en_uncased), "
        "or a folder that it has written.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="float32, bfloat16, mixed_bfloat16, ...; auto measures the first "
        "two and takes the faster."
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option(help="int8: matrices and embeddings of whole numbers."),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile", help="On PyTorch: compile each step, for many texts."
    ),
]
File = Annotated[
    Path | None,
    typer.Option("--file", help="File with a text on each line."),
]


def texts_of(given: list[str] | None, file: Path | None) -> list[str]:
    """Takes texts from the arguments, a file, or else standard input.

    Raises:
        UsageError: if both are given, or there is no text, or it is no UTF-8.
    """
    from keras_multi.errors import UsageError

    if given and file is not None:
        raise UsageError("give texts or --file, not both")
    if given:
        return given
    try:
        if file is not None:
            content = file.read_text(encoding="utf-8")
        else:
            content = sys.stdin.read()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file or 'stdin'} is no UTF-8: {error}") from error
    lines = [line for line in content.split("\n") if line]
    if not lines:
        raise UsageError(
            "there is no text; give one, --file, or lines on stdin"
        )
    return lines


def load_model(name: str, precision: str, backend_name: str | None) -> Any:
    """Loads a model on a backend.

    Args:
        name: see `nlp.load`.
        precision: Keras dtype policy.
        backend_name: `None` for that of the environment.

    Raises:
        UsageError: if the precision is unknown.
    """
    from keras_multi import backend
    from keras_multi.fields import choose

    select_backend(backend_name)
    choose("precision", precision, backend.PRECISIONS)
    from nlp import load

    return load(name, dtype=precision)


def load_generator(
    name: str,
    precision: str,
    backend_name: str | None,
    quantize: str | None,
    compiled: bool = False,
) -> Any:
    """Loads a causal model as a `Generator`; see `load_model`.

    Args:
        name: see `nlp.load`.
        precision: Keras dtype policy.
        backend_name: `None` for that of the environment.
        quantize: one of `QUANTIZATIONS`, or `None`.
        compiled: see `Generator`.

    Raises:
        UsageError: if the model is an encoder, or the quantisation unknown.
    """
    from keras_multi.errors import UsageError
    from keras_multi.fields import choose

    if quantize is not None:
        choose("quantize", quantize, QUANTIZATIONS)

    def make(policy: str) -> Any:
        model = load_model(name, policy, backend_name)
        from nlp import Generator
        from nlp.causal_lm import CausalLM

        if not isinstance(model, CausalLM):
            raise UsageError(
                f"{name} is an encoder and does not write; "
                "take nlp encode or nlp fill-mask"
            )
        if quantize is not None:
            model.quantize(quantize)
        return Generator(model, compiled)

    def work(generator: Any) -> tuple[Any, Callable[[], Any]]:
        tokens = min(SAMPLE_TOKENS, generator.max_length // 2)
        ids = [list(range(tokens))]
        (score,) = generator.score(ids)
        return score.log_probability, lambda: generator.generate(
            ids, tokens, stop_ids=()
        )

    problem = f"{name} {quantize} {compiled}"
    select_backend(backend_name)
    return make(_settled(precision, make, work, problem))


def load_encoder(name: str, precision: str, backend_name: str | None) -> Any:
    """Loads an encoder; see `load_model`.

    Raises:
        UsageError: if the model is no encoder.
    """
    from keras_multi.errors import UsageError

    def make(policy: str) -> Any:
        model = load_model(name, policy, backend_name)
        from nlp.encoder import Encoder

        if not isinstance(model, Encoder):
            raise UsageError(
                f"{name} is no encoder; take nlp generate or nlp score, or a "
                "preset such as roberta_base_en"
            )
        return model

    def work(encoder: Any) -> tuple[Any, Callable[[], Any]]:
        def encode() -> Any:
            return encoder.encode(SAMPLE)

        return encode(), encode

    select_backend(backend_name)
    return make(_settled(precision, make, work, f"{name} encode"))


def _settled(
    precision: str,
    make: Callable[[str], Any],
    work: Callable[[Any], tuple[Any, Callable[[], Any]]],
    problem: str,
) -> str:
    """Gives a precision that is no longer `"auto"`.

    Weights are read once for each token, so that it is weights in bfloat16
    that may pay, and not just products.

    Args:
        precision: maybe `"auto"`.
        make: loads a model in a precision.
        work: what a model gives, and what is timed.
        problem: names both.
    """
    from keras_multi.backend import AUTO

    if precision != AUTO:
        return precision
    from keras_multi.precision import Trial, fastest, tell

    choice = fastest(
        lambda policy: Trial(*work(make(policy))), problem, "bfloat16"
    )
    tell(choice)
    return choice.precision


def print_json(result: dict[str, Any]) -> None:
    """Prints one object on a line of standard output."""
    json.dump(result, sys.stdout)
    sys.stdout.write("\n")
