"""Compiled programs on disk, which a later process need not compile again."""

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

from keras_multi.backend.machine import cpu_name

MAX_BYTES = 2**30
# With these nothing is taken that an earlier process compiled.
NOT_KEPT = {
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
}


def keep_compiled(folder: str | os.PathLike[str]) -> None:
    """Keeps what JAX and `torch.compile` compile, for later processes.

    Call it before Keras is first imported; later it does nothing. TensorFlow
    has nothing of the kind on a CPU: 2.21 cannot read what it writes.
    Variables of the environment that are set already go before.

    Args:
        folder: made where it is missing. What lies there is run, so nothing is
            kept where another user owns the folder or may write to it, nor
            where it cannot be made.

    Example:
        >>> from keras_multi import backend
        >>> backend.keep_compiled("runs/compiled")  # doctest: +SKIP
    """
    if "keras" not in sys.modules:
        for name, value in kept(Path(folder)).items():
            os.environ.setdefault(name, value)


def kept(folder: Path) -> dict[str, str]:
    """Variables of the environment with which programs are kept in a folder.

    Args:
        folder: see `keep_compiled`. Each kind of processor has one of its own
            there, since programs are made of its instructions.
    """
    folder = folder / hashlib.sha256(_processor().encode()).hexdigest()[:16]
    if not _is_own(folder):
        return {}
    variables = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }
    if importlib.util.find_spec("filelock"):  # without it JAX cannot drop any
        variables["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(MAX_BYTES)
    return variables


def _is_own(folder: Path) -> bool:
    """Makes a folder; tells whether this user alone may write to it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _processor() -> str:
    """Name and instructions of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return cpu_name() + next(
        (x for x in lines if x.startswith(("flags", "Features"))), ""
    )
