"""Where pretrained models come from, and how they are kept.

The one form on disk is a folder as `transformers` writes it: `config.json`,
weights in safetensors (in one file, or in several with an index), and
`tokenizer.json`, or `vocab.json` with `merges.txt`. A folder that is written
here can be read there, and the other way round. Nothing is ever unpickled.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_multi.errors import DataError, KerasMultiError, UsageError
from keras_multi.files import prepare_folder, read_json, replacing, write_json
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


def load(preset: str | os.PathLike[str], **kwargs: Any) -> GPT2:
    """Loads a pretrained model; see `GPT2.from_preset`."""
    if isinstance(preset, str) and preset.startswith("hf://"):
        return _from_folder(_fetch(preset.removeprefix("hf://")), kwargs)
    if Path(preset).is_dir():
        return _from_folder(Path(preset), kwargs)
    if isinstance(preset, str) and preset.isidentifier():
        return _from_keras_hub(preset, kwargs)
    raise UsageError(
        f"there is no folder {str(preset)!r}; give that of a model, "
        "hf://ORGANISATION/NAME, or a preset such as gpt2_base_en"
    )


def save(model: GPT2, folder: str | os.PathLike[str]) -> None:
    """Writes a model and its tokenizer; see `GPT2.save_to_preset`."""
    import safetensors.numpy

    target = prepare_folder(folder)
    model.build()
    arrays = {
        f"transformer.{name}": np.ascontiguousarray(
            keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))
        )
        for name, variable in named_variables(model).items()
    }
    # `config.json` comes last: it says that the folder is complete.
    for name in (CONFIG, INDEX, TOKENIZER, VOCABULARY):
        (target / name).unlink(missing_ok=True)
    with replacing(target / WEIGHTS) as temporary:
        safetensors.numpy.save_file(arrays, temporary, {"format": "pt"})
    end = None
    if model.tokenizer is not None:
        end = model.tokenizer.end_id
        with replacing(target / TOKENIZER) as temporary:
            temporary.write_text(model.tokenizer.to_json(), encoding="utf-8")
    config = model.get_config() | {"dropout": model.dropout_rate}
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
            weight, bias = layer.variables
            named[f"h.{i}.{name}.weight"] = weight
            named[f"h.{i}.{name}.bias"] = bias
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
        if given[name].shape != tuple(variable.shape):
            raise DataError(
                f"{name} has the shape {given[name].shape} and the model "
                f"{tuple(variable.shape)}"
            )
    for name, variable in named.items():
        variable.assign(given[name])


def _from_folder(folder: Path, changes: dict[str, Any]) -> GPT2:
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
        _check_vocabulary(model, str(folder))
    return model


def _read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Reads all weights of a folder, as float32 where they are bfloat16."""
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


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a safetensors file.

    Args:
        path: the file.

    Returns:
        Name to array; bfloat16, which NumPy lacks, as float32.

    Raises:
        DataError: if the file is missing, truncated or damaged, or has
            tensors of another kind.
    """
    import safetensors

    try:
        tensors = safetensors.deserialize(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path.name}: {error.strerror}") from error
    except safetensors.SafetensorError as error:
        raise DataError(f"{path.name} is damaged: {error}") from error
    arrays = {}
    for name, tensor in tensors:
        try:
            array = _to_numpy(tensor["dtype"], tensor["data"])
        except KeyError as error:
            raise DataError(
                f"{path.name} holds {name} as {error}, which is not known"
            ) from error
        arrays[name] = array.reshape(tensor["shape"])
    return arrays


def _to_numpy(dtype: str, data: bytes) -> np.ndarray:
    if dtype == "BF16":
        halves = np.frombuffer(data, "<u2").astype("<u4")
        return (halves << 16).view("<f4")
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?", "U8": "u1"}
    return np.frombuffer(data, kinds[dtype])


def _fetch(name: str) -> Path:
    """Downloads a model of the Hugging Face hub into its own cache."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(
            "hf:// needs the package huggingface_hub; run: "
            "pip install 'keras-multi[text]'"
        ) from error
    files = [CONFIG, WEIGHTS, INDEX, "model-*.safetensors", TOKENIZER]
    try:
        folder = huggingface_hub.snapshot_download(
            name, allow_patterns=[*files, VOCABULARY, "merges.txt"]
        )
    except Exception as error:  # Of httpx, the hub or the file system.
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"cannot fetch hf://{name}: {reason}") from error
    return Path(folder)


def _from_keras_hub(preset: str, changes: dict[str, Any]) -> GPT2:
    try:
        import keras_nlp
    except ImportError as error:
        raise UsageError(
            f"the preset {preset!r} needs keras-nlp; run: "
            "pip install 'keras-multi[hub]', or give a folder or hf://..."
        ) from error
    if preset not in keras_nlp.models.GPT2Backbone.presets:
        known = ", ".join(sorted(keras_nlp.models.GPT2Backbone.presets))
        raise UsageError(f"there is no preset {preset!r}; there are {known}")
    try:
        backbone = keras_nlp.models.GPT2Backbone.from_preset(preset)
    except Exception as error:  # Of the hub's download code.
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"cannot fetch {preset}: {reason}") from error
    model = from_backbone(backbone, **changes)
    model.tokenizer = Tokenizer.gpt2()
    _check_vocabulary(model, preset)
    return model


def from_backbone(backbone: Any, **changes: Any) -> GPT2:
    """Makes a GPT2 of a `keras_nlp.models.GPT2Backbone`.

    Args:
        backbone: the backbone.
        **changes: arguments of `GPT2` that differ from its own.

    Returns:
        The model, without a tokenizer.
    """
    arguments = {
        "vocabulary_size": backbone.vocabulary_size,
        "num_layers": backbone.num_layers,
        "num_heads": backbone.num_heads,
        "hidden_dim": backbone.hidden_dim,
        "intermediate_dim": backbone.intermediate_dim,
        "max_length": backbone.max_sequence_length,
        "dropout": backbone.dropout,
    }
    model = GPT2(**{**arguments, **changes})
    tokens, positions, *rest = (
        np.asarray(weight) for weight in backbone.get_weights()
    )
    arrays = {"wte.weight": tokens, "wpe.weight": positions}
    dim = backbone.hidden_dim
    for i in range(backbone.num_layers):
        own, rest = rest[:16], rest[16:]
        # Queries, keys and values, each a matrix per head and a bias.
        kernels = [own[j].reshape(dim, dim) for j in (0, 2, 4)]
        biases = [own[j].reshape(dim) for j in (1, 3, 5)]
        block = {
            "attn.c_attn.weight": np.concatenate(kernels, axis=1),
            "attn.c_attn.bias": np.concatenate(biases),
            "attn.c_proj.weight": own[6].reshape(dim, dim),
            "attn.c_proj.bias": own[7],
            "ln_1.weight": own[8],
            "ln_1.bias": own[9],
            "mlp.c_fc.weight": own[10],
            "mlp.c_fc.bias": own[11],
            "mlp.c_proj.weight": own[12],
            "mlp.c_proj.bias": own[13],
            "ln_2.weight": own[14],
            "ln_2.bias": own[15],
        }
        arrays |= {f"h.{i}.{name}": array for name, array in block.items()}
    arrays["ln_f.weight"], arrays["ln_f.bias"] = rest
    assign(model, arrays)
    return model


def _check_vocabulary(model: GPT2, source: str) -> None:
    assert model.tokenizer is not None
    if len(model.tokenizer) > model.vocabulary_size:
        raise DataError(
            f"{source}: the tokenizer has {len(model.tokenizer):,} tokens and "
            f"the model {model.vocabulary_size:,}"
        )


__all__ = ["KerasMultiError", "assign", "from_backbone", "load", "save"]
