"""Image classification and augmentation."""

import importlib
from typing import Any

_HOMES = {
    "Classifier": "vision.classifier",
    "grad_cam": "vision.explain",
}

__all__ = ["Classifier", "backbones", "grad_cam", "optimizers"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"vision.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
