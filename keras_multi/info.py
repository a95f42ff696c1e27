"""What `keras-multi info` tells about this machine."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from keras_multi import __version__, backend

if TYPE_CHECKING:
    from rich.table import Table

PACKAGES = (
    "keras",
    "jax",
    "torch",
    "tensorflow",
    "keras-cv",
    "keras-nlp",
    "keras-hub",
    "keras-rs",
    "numpy",
)

_ASK_DEVICE = """
import json
from keras_multi import backend
print(json.dumps([backend.device()._asdict(), backend.modes()]))
"""


def versions() -> dict[str, str]:
    """Versions of the packages that matter, those installed here."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, Any]:
    """Describes machine, backends and caches.

    Each backend is asked in a process of its own, since one process can run
    Keras on one backend only.

    Returns:
        A dictionary that can be written as JSON.
    """
    import psutil

    from keras_multi import data

    return {
        "keras_multi": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": backend.threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "backend": backend.configured(),
        "backends": {
            name: _ask(name) if name in backend.available() else None
            for name in backend.BACKENDS
        },
        "packages": versions(),
        "data_cache": str(data.default_cache_dir()),
    }


def table(description: dict[str, Any]) -> "Table":
    """Renders a description for the terminal."""
    from rich.table import Table

    grid = Table(show_header=False, box=None, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column()
    grid.add_row("keras-multi", description["keras_multi"])
    grid.add_row("python", description["python"])
    grid.add_row("platform", description["platform"])
    grid.add_row(
        "cores", f"{description['cores']} (usable {description['threads']})"
    )
    grid.add_row("memory", f"{description['memory_bytes'] / 2**30:.1f} GiB")
    for name, answer in description["backends"].items():
        chosen = " (chosen)" if name == description["backend"] else ""
        grid.add_row(f"backend {name}", _backend_line(name, answer) + chosen)
    grid.add_row(
        "packages",
        ", ".join(f"{k} {v}" for k, v in description["packages"].items()),
    )
    grid.add_row("data cache", description["data_cache"])
    return grid


def _ask(name: str) -> dict[str, Any]:
    child = subprocess.run(
        [sys.executable, "-c", _ASK_DEVICE],
        env={**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        lines = child.stderr.strip().splitlines() or ["it printed nothing"]
        return {"error": lines[-1]}
    device, modes = json.loads(child.stdout.strip().splitlines()[-1])
    return {"device": device, "modes": modes}


def _backend_line(name: str, answer: dict[str, Any] | None) -> str:
    if answer is None:
        return f"not installed: pip install 'keras-multi[{name}]'"
    if "error" in answer:
        return f"broken: {answer['error']}"
    device = answer["device"]
    return (
        f"{device['kind']}, {device['name']}, "
        f"{device['memory_bytes'] / 2**30:.1f} GiB; "
        f"modes {', '.join(answer['modes'])}"
    )
