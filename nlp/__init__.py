"""Language models: GPT-2, Llama and others, tokenizers and generation."""

import importlib
from typing import Any

_HOMES = {
    "Encoder": "nlp.encoder",
    "GPT2": "nlp.gpt2",
    "Generator": "nlp.generation",
    "Llama": "nlp.llama",
    "Tokenizer": "nlp.tokenizer",
    "load": "nlp.weights",
}

__all__ = ["GPT2", "Encoder", "Generator", "Llama", "Tokenizer", "load"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
