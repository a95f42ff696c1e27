"""keras-multi: one Keras 3 codebase on JAX, PyTorch and TensorFlow.

Importing this package imports no framework: the sub-packages are loaded when
they are first used, and Keras with them. Choose the backend before that, with
the environment variable `KERAS_BACKEND` or `keras_multi.backend.select`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_SUBPACKAGES = (
    "backend",
    "data",
    "errors",
    "inference",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "portability",
    "precision",
    "training",
)

_FUNCTIONS = {
    "check": "portability.check",
    "choose_precision": "precision",
    "optimize_for_inference": "inference",
}

__all__ = ["__version__", *_SUBPACKAGES, *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        home = importlib.import_module(f"{__name__}.{_FUNCTIONS[name]}")
        return getattr(home, name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
