"""A folder of parts that changes as a whole or not at all.

    folder/manifest.json    the current version, the SHA-256 of its parts
    folder/VERSION/...      the parts of a version

A new version is written beside the current one and becomes current when the
manifest is replaced, which is one rename. So a process that is killed leaves
the old version or the new one. The version before stays for those who are
reading it.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_multi import files
from keras_multi.data import Table
from keras_multi.errors import DataError, KerasMultiError
from keras_multi.files import prepare_folder, read_json, write_json

if TYPE_CHECKING:
    import keras

MANIFEST = "manifest.json"
FORMAT = 1


@contextmanager
def new_version(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives an empty folder whose files become the current version.

    A second writer waits for the first. If the body raises, the current
    version stays.

    Args:
        folder: the artifact, made if it is not there.

    Yields:
        The folder to write the parts to, all at its top.

    Raises:
        KerasMultiError: if something cannot be written.
    """
    root = prepare_folder(folder)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
        try:
            yield temporary
            _publish(root, temporary)
        except OSError as error:
            raise KerasMultiError(
                f"cannot write {root}: {error.strerror or error}; free some "
                "space or choose another folder"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _publish(root: Path, temporary: Path) -> None:
    parts = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
    version = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    before = None
    if (root / MANIFEST).exists():
        before = read_json(root / MANIFEST).get("version")
    if not (root / version).exists():
        temporary.chmod(0o755)
        temporary.rename(root / version)
    content = {"format": FORMAT, "version": version, "parts": parts}
    write_json(root / MANIFEST, content)
    for path in root.iterdir():
        if path.is_dir() and path.name not in (version, before):
            shutil.rmtree(path, ignore_errors=True)


def current_version(folder: str | os.PathLike[str]) -> tuple[Path, str]:
    """Finds the current version and verifies each of its parts.

    Args:
        folder: the artifact.

    Returns:
        The folder of the parts, and the name of the version.

    Raises:
        DataError: if there is no artifact, or a part is missing or does not
            have its checksum.
    """
    root = Path(folder)
    manifest = read_json(root / MANIFEST)
    version, parts = manifest.get("version"), manifest.get("parts")
    if (
        manifest.get("format") != FORMAT
        or not isinstance(version, str)
        or not isinstance(parts, dict)
        or any(Path(name).name != name for name in (version, *parts))
    ):
        raise DataError(
            f"{root / MANIFEST} is not the manifest of an artifact of format "
            f"{FORMAT}; build the artifact again"
        )
    for name, expected in parts.items():
        path = root / version / name
        try:
            found = _sha256(path)
        except OSError as error:
            raise DataError(
                f"cannot read {path}: {error.strerror}; build the artifact "
                "again"
            ) from error
        if found != expected:
            raise DataError(
                f"{path} is damaged: its SHA-256 is not that of the manifest; "
                "build the artifact again"
            )
    return root / version, version


def write_table(path: Path, table: Table) -> None:
    """Writes a table as `.npz`."""
    about = json.dumps({"name": table.name, "target": table.target})
    columns = {f"column.{name}": v for name, v in table.columns.items()}
    np.savez(path, about=np.array(about), **columns)  # type: ignore[arg-type]


def read_table(path: Path) -> Table:
    """Reads a table that `write_table` has written.

    Raises:
        DataError: if the file cannot be read or holds something else.
    """
    arrays = read_arrays(path)
    try:
        about = json.loads(str(arrays.pop("about")))
        columns = {k.removeprefix("column."): v for k, v in arrays.items()}
        return Table(about["name"], columns, about["target"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} does not hold a table: {error}") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a `.npz` file.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot read {path}: it is missing or damaged; build the "
            "artifact again"
        ) from error


def read_model(path: Path) -> "keras.Model":
    """Reads a model, not compiled, of the classes of this package or Keras.

    Raises:
        DataError: if the file cannot be read.
    """
    # Keras finds the classes by their names.
    import recsys.dcn
    import recsys.two_tower  # noqa: F401

    return files.read_model(path, "build the artifact again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
