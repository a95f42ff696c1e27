"""Models of keras-nlp by name or folder: causal ones, and encoders.

GPT-2 becomes the `GPT2` of this package. The other models keep the layers of
keras-nlp, and get the generation of this package and its commands.
"""

from pathlib import Path
from typing import Any

import numpy as np

from keras_multi.errors import DataError, KerasMultiError, UsageError
from keras_multi.files import read_json
from nlp import folder
from nlp.encoder import Encoder
from nlp.gpt2 import GPT2
from nlp.hub_causal_lm import HubCausalLM
from nlp.pieces import tokenizer_of
from nlp.tokenizer import Tokenizer, parse_merges

CONFIG, TASK = "config.json", "task.json"
KNOWN = ("keras_hub>", "keras_nlp>")


def is_hub_folder(path: Path) -> bool:
    """Tells whether keras-nlp has written a folder."""
    config = path / CONFIG
    return config.is_file() and "registered_name" in read_json(config)


def read(preset: str | Path, changes: dict[str, Any]) -> Any:
    """Loads a preset of keras-nlp.

    Args:
        preset: one of its names, or a folder that it has written.
        changes: `dtype` alone; for GPT-2 arguments of `GPT2`.

    Returns:
        A `GPT2`, another `CausalLM`, or an `Encoder`.

    Raises:
        UsageError: if keras-nlp is not installed, there is no such preset, or
            it is neither a causal model nor an encoder.
        DataError: if its files cannot be fetched or are damaged.
    """
    try:
        import keras_nlp
    except ImportError as error:
        raise UsageError(
            f"the preset {str(preset)!r} needs keras-nlp; run: "
            "pip install 'keras-multi[hub]', or give a folder or hf://..."
        ) from error
    models = keras_nlp.models
    if isinstance(preset, Path):
        kind = _kind(preset)
        if kind == "GPT2":
            return _gpt2(models.GPT2Backbone, preset, changes)
        is_causal = hasattr(models, f"{kind}CausalLM")
        if not is_causal and not hasattr(models, f"{kind}MaskedLM"):
            raise UsageError(
                f"{preset} is neither a causal model nor an encoder: {kind}"
            )
    else:
        if preset in models.GPT2Backbone.presets:
            return _gpt2(models.GPT2Backbone, preset, changes)
        is_causal = preset in models.CausalLM.presets
        if not is_causal and preset not in models.MaskedLM.presets:
            known = ", ".join(
                sorted({*models.CausalLM.presets, "smollm2_135m_instruct"})
            )
            raise UsageError(
                f"there is no preset {preset!r}; there are {known}"
            )
    if unknown := sorted(set(changes) - {"dtype"}):
        raise UsageError(
            f"only the dtype of {preset} can be changed. Received: {unknown}"
        )
    kind = models.CausalLM if is_causal else models.MaskedLM
    task = _fetch(kind, preset, changes)
    return HubCausalLM(task) if is_causal else Encoder(task, tokenizer_of(task))


def _kind(preset: Path) -> str:
    """Names the model in a folder, such as OPT.

    Raises:
        DataError: if a class is not of keras-nlp: making it might run code.
    """
    kind = ""
    for name in (TASK, CONFIG):
        if (preset / name).exists():
            found = str(read_json(preset / name).get("registered_name"))
            if not found.startswith(KNOWN):
                raise DataError(
                    f"{preset / name} is not of keras-nlp: it names {found}"
                )
            kind = found.split(">")[1].removesuffix("Backbone")
    return kind


def _fetch(kind: Any, preset: str | Path, options: dict[str, Any]) -> Any:
    try:
        return kind.from_preset(str(preset), **options)
    except KerasMultiError:
        raise
    except Exception as error:  # Of the hub's download code, h5py or Keras.
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"cannot load {preset}: {reason}") from error


def _gpt2(kind: Any, preset: str | Path, changes: dict[str, Any]) -> GPT2:
    model = from_backbone(_fetch(kind, preset, {}), **changes)
    if isinstance(preset, str):
        model.tokenizer = Tokenizer.gpt2()
    elif (assets := preset / "assets" / "tokenizer").is_dir():
        model.tokenizer = Tokenizer.from_files(
            read_json(assets / "vocabulary.json"),
            parse_merges((assets / "merges.txt").read_text(encoding="utf-8")),
        )
    folder.check_vocabulary(model, str(preset))
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
    folder.assign(model, arrays)
    return model
