"""Causal language models: GPT-2, its tokenizer and generation."""

import importlib
from typing import Any

_HOMES = {
    "GPT2": "nlp.gpt2",
    "Generator": "nlp.generation",
    "Tokenizer": "nlp.tokenizer",
}

__all__ = ["GPT2", "Generator", "Tokenizer"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
