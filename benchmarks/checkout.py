"""Folders that hold a version of this project, such as git worktrees."""

import re
import subprocess
from pathlib import Path

from benchmarks.results import SCHEMA_VERSION
from keras_multi.errors import UsageError

HERE = Path(__file__).resolve().parents[1]
_SCHEMA = re.compile(r"^SCHEMA_VERSION = (\d+)$", re.MULTILINE)


def check(folder: Path) -> Path:
    """Checks that the cells of this version can also be run by another.

    Args:
        folder: the root of the other version.

    Returns:
        Its absolute path.

    Raises:
        UsageError: if it is no checkout, the code that runs here, or of
            another version of the results' schema.
    """
    if not all(
        (folder / name).is_file()
        for name in ("benchmarks/worker.py", "keras_multi/__init__.py")
    ):
        raise UsageError(
            "base must be the folder of a checkout of keras-multi, such as "
            f"`git worktree add` makes. Received: {str(folder)!r}"
        )
    if folder.resolve() == HERE:
        raise UsageError(
            "base must be another folder than that of the code which runs "
            f"here. Received: {str(folder)!r}"
        )
    schema = _schema(folder)
    if schema != str(SCHEMA_VERSION):
        raise UsageError(
            f"base has results schema {schema}, this version reads "
            f"{SCHEMA_VERSION}; choose a nearer version. "
            f"Received: {str(folder)!r}"
        )
    return folder.resolve()


def commit(folder: Path) -> str | None:
    """The version of a checkout, `None` where git does not know.

    Args:
        folder: its root.
    """
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return git.stdout.strip() or None


def _schema(folder: Path) -> str:
    try:
        source = (folder / "benchmarks/results.py").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "unknown"
    found = _SCHEMA.search(source)
    return found[1] if found else "unknown"
