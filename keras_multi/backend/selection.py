"""Which backend Keras runs on, told and chosen before Keras is imported."""

import importlib.util
import json
import os
import sys
from pathlib import Path

from keras_multi.errors import BackendError

BACKENDS = ("jax", "torch", "tensorflow")


def available() -> tuple[str, ...]:
    """Names the backends installed here, without importing any.

    Returns:
        A subset of `BACKENDS`, in that order.

    Example:
        >>> from keras_multi import backend
        >>> set(backend.available()) <= {"jax", "torch", "tensorflow"}
        True
    """
    return tuple(b for b in BACKENDS if _is_installed(b))


def configured() -> str:
    """Names the backend Keras uses or will use, without importing Keras.

    The order is Keras's own: `KERAS_BACKEND`, then `keras.json` in
    `KERAS_HOME` (else `~/.keras`), then TensorFlow.
    """
    if "keras" in sys.modules:
        return name()
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        config = json.loads((Path(home) / "keras.json").read_text())
        return str(config.get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def require(backend: str | None = None) -> str:
    """Checks that a backend exists and is installed.

    Args:
        backend: one of `BACKENDS`; the configured one by default.

    Returns:
        The name of the backend.

    Raises:
        BackendError: if it is unknown or not installed. The message names
            the installed ones and the pip extra that brings it.
    """
    wanted = configured() if backend is None else backend
    installed = available()
    have = ", ".join(installed) or "none"
    if wanted not in BACKENDS:
        raise BackendError(
            f"unknown backend {wanted!r}; choose one of {', '.join(BACKENDS)} "
            f"(installed here: {have})"
        )
    if wanted not in installed:
        raise BackendError(
            f"backend {wanted!r} is not installed (installed here: {have}); "
            f"set KERAS_BACKEND or --backend to one of them, or run: "
            f"pip install 'keras-multi[{wanted}]'"
        )
    return wanted


def select(backend: str) -> None:
    """Chooses the backend. Must come before Keras is first imported.

    Args:
        backend: one of `BACKENDS`.

    Raises:
        BackendError: if the backend is unknown or not installed, or Keras is
            already running on another one.

    Example:
        >>> from keras_multi import backend
        >>> backend.select(backend.configured())
    """
    require(backend)
    if "keras" in sys.modules and name() != backend:
        raise BackendError(
            f"Keras already runs on {name()!r} in this process and cannot "
            f"change to {backend!r}; set KERAS_BACKEND={backend} before the "
            "first import of Keras"
        )
    os.environ["KERAS_BACKEND"] = backend


def name() -> str:
    """Names the backend that Keras runs on (imports Keras)."""
    import keras

    return str(keras.backend.backend())


def _is_installed(backend: str) -> bool:
    try:
        return importlib.util.find_spec(backend) is not None
    except (ImportError, ValueError):
        return False
