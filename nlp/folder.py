"""A GPT-2 in a folder as the `transformers` library writes it.

`config.json`, weights in safetensors (in one file, or in several with an
index), and `tokenizer.json`, or `vocab.json` with `merges.txt`. A folder that
is written here can be read there, and the other way round. Nothing is ever
unpickled.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi.errors import DataError, UsageError
from keras_multi.files import prepare_folder, read_json, replacing, write_json
from keras_multi.presets import read_safetensors, write_safetensors
from nlp.causal_lm import CausalLM
from nlp.gpt2 import GPT2
from nlp.tokenizer import Tokenizer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
VOCABULARY = "vocab.json"

# Field of `config.json`, argument of `GPT2`, value of the field by default.
FIELDS = (
    ("vocab_size", "vocabulary_size", 50257),
    ("n_layer", "num_layers", 12),
    ("n_head", "num_heads", 12),
    ("n_embd", "hidden_dim", 768),
    ("n_inner", "intermediate_dim", None),
    ("n_positions", "max_length", 1024),
    ("resid_pdrop", "dropout", 0.1),
    ("layer_norm_epsilon", "epsilon", 1e-5),
)
# Fields that change the computation, and the only values that GPT2 knows.
FIXED = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "tie_word_embeddings": (True,),
    "add_cross_attention": (False,),
}


def read(folder: Path, changes: Mapping[str, Any]) -> GPT2:
    """Reads a model and, if it is there, its tokenizer.

    Args:
        folder: the folder.
        changes: arguments of `GPT2` that differ from the configuration.

    Raises:
        UsageError: if the changes make no model.
        DataError: if a file is missing or damaged, or is not that of a
            GPT-2, or the files do not fit together.
    """
    config = read_json(folder / CONFIG)
    if config.get("model_type") != "gpt2":
        raise DataError(
            f"{folder / CONFIG} describes a model of the type "
            f"{config.get('model_type')!r}, not gpt2"
        )
    for field, values in FIXED.items():
        if config.get(field, values[0]) not in values:
            raise DataError(
                f"{folder / CONFIG} asks for {field}={config[field]!r}, which "
                f"GPT2 does not know; it knows {values[0]!r}"
            )
    arguments = {
        argument: config.get(field, default)
        for field, argument, default in FIELDS
    }
    try:
        model = GPT2(**{**arguments, **changes})
    except (TypeError, ValueError) as error:
        if changes:
            raise UsageError(f"cannot make the model: {error}") from error
        raise DataError(f"{folder / CONFIG} is damaged: {error}") from error
    try:
        assign(model, _read_arrays(folder))
    except DataError as error:
        raise DataError(f"{folder}: {error}") from error
    if (folder / TOKENIZER).exists() or (folder / VOCABULARY).exists():
        model.tokenizer = Tokenizer.from_folder(folder)
        check_vocabulary(model, str(folder))
    return model


def _read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Reads all weights of a folder."""
    names = [WEIGHTS]
    if not (folder / WEIGHTS).exists() and (folder / INDEX).exists():
        shards = read_json(folder / INDEX).get("weight_map")
        if not isinstance(shards, dict) or not all(
            isinstance(name, str) and Path(name).name == name
            for name in shards.values()
        ):
            raise DataError(f"{INDEX} is damaged: it has no map of files")
        names = sorted(set(shards.values()))
    arrays: dict[str, np.ndarray] = {}
    for name in names:
        arrays |= read_safetensors(folder / name)
    return arrays


def write(model: GPT2, folder: str | os.PathLike[str]) -> None:
    """Writes a model and its tokenizer; see `GPT2.save_to_preset`."""
    model.build()
    if model.tokens.quantization_mode is not None:
        raise UsageError("save a model before it is quantised")
    target = prepare_folder(folder)
    arrays = {
        f"transformer.{name}": keras.ops.convert_to_numpy(
            keras.ops.cast(variable, "float32")
        )
        for name, variable in named_variables(model).items()
    }
    # `config.json` comes last: it says that the folder is complete.
    for name in (CONFIG, INDEX, TOKENIZER, VOCABULARY):
        (target / name).unlink(missing_ok=True)
    write_safetensors(target / WEIGHTS, arrays, {"format": "pt"})
    end = None
    if model.tokenizer is not None:
        end = model.tokenizer.end_id
        with replacing(target / TOKENIZER) as temporary:
            temporary.write_text(model.tokenizer.to_json(), encoding="utf-8")
    config = model.get_config()
    write_json(
        target / CONFIG,
        {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            **{field: config[argument] for field, argument, _ in FIELDS},
            **{field: values[0] for field, values in FIXED.items()},
            "embd_pdrop": model.dropout_rate,
            "bos_token_id": end,
            "eos_token_id": end,
            "dtype": "float32",
        },
    )


def named_variables(model: GPT2) -> dict[str, keras.Variable]:
    """Names the variables of a built model as `transformers` does.

    Both store matrices as `(inputs, outputs)` and queries, keys and values
    side by side, so that nothing is transposed or joined.
    """
    named = {
        "wte.weight": model.tokens.embeddings,
        "wpe.weight": model.positions.embeddings,
    }
    for i, block in enumerate(model.blocks):
        layers = {
            "ln_1": block.attention_norm,
            "attn.c_attn": block.attention.qkv,
            "attn.c_proj": block.attention.output_dense,
            "ln_2": block.mlp_norm,
            "mlp.c_fc": block.expand,
            "mlp.c_proj": block.contract,
        }
        for name, layer in layers.items():
            named[f"h.{i}.{name}.weight"], named[f"h.{i}.{name}.bias"] = (
                layer.variables
            )
    named["ln_f.weight"], named["ln_f.bias"] = model.norm.variables
    return named


def assign(model: GPT2, arrays: Mapping[str, np.ndarray]) -> None:
    """Gives a model the weights of a GPT-2 of `transformers`.

    Args:
        model: the model; it is built.
        arrays: weights by name, with or without `transformer.` before it.
            Masks that old versions have saved are passed over.

    Raises:
        DataError: if a weight is missing, unknown or of another shape. The
            model is unchanged then.
    """
    model.build()
    named = named_variables(model)
    given = {}
    for name, array in arrays.items():
        name = name.removeprefix("transformer.")
        if name != "lm_head.weight" and not name.endswith(
            (".attn.bias", ".attn.masked_bias")
        ):
            given[name] = array
    if missing := sorted(set(named) - set(given)):
        raise DataError(
            f"the weights lack {missing[0]} (and {len(missing) - 1} more)"
        )
    if unknown := sorted(set(given) - set(named)):
        raise DataError(
            f"the model has no weight {unknown[0]} (and {len(unknown) - 1} "
            "more in the file)"
        )
    for name, variable in named.items():
        if given[name].dtype.kind not in "fV":  # V is that of bfloat16.
            raise DataError(
                f"{name} holds {given[name].dtype} and not numbers with a "
                "fraction"
            )
        if given[name].shape != tuple(variable.shape):
            raise DataError(
                f"{name} has the shape {given[name].shape} and the model "
                f"{tuple(variable.shape)}"
            )
    for name, variable in named.items():
        variable.assign(given[name].astype("float32"))


def check_vocabulary(model: CausalLM, source: str) -> None:
    """Raises a DataError if the tokenizer has more tokens than the model."""
    if (
        model.tokenizer is not None
        and len(model.tokenizer) > model.vocabulary_size
    ):
        raise DataError(
            f"{source}: the tokenizer has {len(model.tokenizer):,} tokens and "
            f"the model {model.vocabulary_size:,}"
        )
