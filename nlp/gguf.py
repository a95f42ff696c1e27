"""A Llama in a GGUF file, as llama.cpp reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_multi.errors import DataError, UsageError
from keras_multi.presets.gguf import GGUF, field
from nlp.folder import check_vocabulary
from nlp.llama import Llama
from nlp.tokenizer import Tokenizer, parse_merges

ARCHITECTURE = "llama"
SPECIAL = 3  # the type of a token that stands for no text
# How the file calls a way to cut texts; whether each digit is a part.
SPLITS_DIGITS = {"gpt-2": False, "smollm": True}


def read(path: Path, changes: Mapping[str, Any]) -> Llama:
    """Reads a model and its tokenizer.

    Args:
        path: the file.
        changes: arguments of `Llama` that differ from the file.

    Raises:
        UsageError: if the changes make no model of these weights, or
            tokenizers is not installed.
        DataError: if the file is missing or damaged, or not that of a Llama
            with a head tied to the tokens.
    """
    file = GGUF.open(path)
    try:
        arguments = _arguments(file)
        _check_tensors(file, arguments)
        tokenizer = tokenizer_of(file.metadata)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    try:
        model = Llama(**{**arguments, **changes})
    except (TypeError, ValueError) as error:
        if changes:
            raise UsageError(f"cannot make the model: {error}") from error
        raise DataError(f"{path} is damaged: {error}") from error
    if shapes({k: getattr(model, k) for k in arguments}) != shapes(arguments):
        raise UsageError(
            f"the weights of {path} do not fit a model with {dict(changes)}"
        )
    model.build()
    _assign(model, file)
    model.tokenizer = tokenizer
    check_vocabulary(model, str(path))
    return model


def shapes(arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Gives name and shape of each tensor, matrices as `(out, in)`.

    Args:
        arguments: of a `Llama`.
    """
    dim, inner = arguments["hidden_dim"], arguments["intermediate_dim"]
    shared = dim // arguments["num_heads"] * arguments["num_key_value_heads"]
    block = {
        "attn_norm": (dim,),
        "attn_q": (dim, dim),
        "attn_k": (shared, dim),
        "attn_v": (shared, dim),
        "attn_output": (dim, dim),
        "ffn_norm": (dim,),
        "ffn_gate": (inner, dim),
        "ffn_up": (inner, dim),
        "ffn_down": (dim, inner),
    }
    return {
        "token_embd.weight": (arguments["vocabulary_size"], dim),
        "output_norm.weight": (dim,),
        **{
            f"blk.{i}.{name}.weight": shape
            for i in range(arguments["num_layers"])
            for name, shape in block.items()
        },
    }


def tokenizer_of(metadata: Mapping[str, Any]) -> Tokenizer:
    """Makes the tokenizer that a file describes.

    Args:
        metadata: of the file.

    Raises:
        UsageError: if tokenizers is not installed.
        DataError: if it is no byte-level BPE of a known kind, or damaged.
    """
    kinds = (
        metadata.get("tokenizer.ggml.model"),
        metadata.get("tokenizer.ggml.pre"),
    )
    if kinds[0] != "gpt2" or kinds[1] not in SPLITS_DIGITS:
        raise DataError(
            f"the tokenizer is of the kind {kinds}; known is gpt2 with "
            f"{' or '.join(SPLITS_DIGITS)}"
        )
    tokens = _strings(metadata, "tokenizer.ggml.tokens")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    types = field(metadata, "tokenizer.ggml.token_type", list)
    end = field(metadata, "tokenizer.ggml.eos_token_id", int)
    if not len(vocabulary) == len(tokens) == len(types) > end >= 0:
        raise DataError("tokens, their types and the end of texts do not fit")
    tokenizer = Tokenizer.from_files(
        vocabulary,
        parse_merges("\n".join(_strings(metadata, "tokenizer.ggml.merges"))),
        end_of_text=tokens[end],
        special_tokens=[
            token
            for token, kind in zip(tokens, types, strict=True)
            if kind == SPECIAL
        ],
        split_digits=SPLITS_DIGITS[kinds[1]],
    )
    if "tokenizer.chat_template" in metadata:
        tokenizer.chat_template = field(
            metadata, "tokenizer.chat_template", str
        )
    return tokenizer


def _arguments(file: GGUF) -> dict[str, Any]:
    metadata = file.metadata
    if metadata.get("general.architecture") != ARCHITECTURE:
        raise DataError(
            "it holds a model of the type "
            f"{metadata.get('general.architecture')!r}, not {ARCHITECTURE}"
        )
    if scaling := [key for key in metadata if ".rope.scaling." in key]:
        raise DataError(f"it asks for {scaling[0]}, which Llama does not know")

    def number(key: str, kind: type = int) -> Any:
        value = field(metadata, f"llama.{key}", kind)
        if not value > 0:
            raise DataError(f"llama.{key} is {value}, not positive")
        return value

    heads, dim = number("attention.head_count"), number("embedding_length")
    shared = "attention.head_count_kv"
    if metadata.get("llama.rope.dimension_count", dim // heads) != dim // heads:
        raise DataError("it turns a part of the features only")
    tokens = file.tensors.get("token_embd.weight")
    return {
        "vocabulary_size": 0 if tokens is None else tokens.shape[0],
        "num_layers": number("block_count"),
        "num_heads": heads,
        "hidden_dim": dim,
        "intermediate_dim": number("feed_forward_length"),
        "num_key_value_heads": (
            number(shared) if f"llama.{shared}" in metadata else heads
        ),
        "max_length": number("context_length"),
        "rotary_base": (
            number("rope.freq_base", float)
            if "llama.rope.freq_base" in metadata
            else 10000.0
        ),
        "epsilon": number("attention.layer_norm_rms_epsilon", float),
    }


def _check_tensors(file: GGUF, arguments: Mapping[str, Any]) -> None:
    """Raises a DataError unless there are the tensors of the model."""
    if arguments["num_layers"] > len(file.tensors):
        raise DataError(
            f"it announces {arguments['num_layers']} blocks and has "
            f"{len(file.tensors)} tensors"
        )
    expected = shapes(arguments)
    if missing := sorted(set(expected) - set(file.tensors)):
        raise DataError(f"it lacks {missing[0]} (and {len(missing) - 1} more)")
    if unknown := sorted(set(file.tensors) - set(expected)):
        raise DataError(
            f"Llama has no {unknown[0]} (and {len(unknown) - 1} more)"
        )
    for name, shape in expected.items():
        if file.tensors[name].shape != shape:
            raise DataError(
                f"{name} has the shape {file.tensors[name].shape}, not {shape}"
            )


def _assign(model: Llama, file: GGUF) -> None:
    heads, groups = model.num_heads, model.num_key_value_heads
    model.tokens.embeddings.assign(file.array("token_embd.weight"))
    model.norm.scale.assign(file.array("output_norm.weight"))
    for i, block in enumerate(model.blocks):

        def part(name: str, i: int = i) -> np.ndarray:
            return file.array(f"blk.{i}.{name}.weight").T  # (in, out)

        queries = in_halves(part("attn_q"), heads)
        keys = in_halves(part("attn_k"), groups)
        block.attention.qkv.kernel.assign(
            np.concatenate([queries, keys, part("attn_v")], axis=1)
        )
        block.attention.output_dense.kernel.assign(part("attn_output"))
        block.attention_norm.scale.assign(part("attn_norm"))
        block.mlp_norm.scale.assign(part("ffn_norm"))
        block.mlp.gate.kernel.assign(part("ffn_gate"))
        block.mlp.up.kernel.assign(part("ffn_up"))
        block.mlp.down.kernel.assign(part("ffn_down"))


def in_halves(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Orders the features of queries or keys as `rotate` pairs them.

    In the file neighbours are a pair, as in the paper; here feature `i` of
    the first half of a head and feature `i` of the second.

    Args:
        matrix: `(in, out)`.
        heads: number of heads side by side.
    """
    dim, width = matrix.shape
    pairs = matrix.reshape(dim, heads, width // heads // 2, 2)
    return pairs.swapaxes(2, 3).reshape(dim, width)


def _strings(metadata: Mapping[str, Any], key: str) -> list[str]:
    values: list[str] = field(metadata, key, list)
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"{key} holds something else than strings")
    return values
