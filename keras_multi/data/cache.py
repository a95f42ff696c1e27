"""The folder that keeps the files of a data set, with their checksums.

A manifest is written after the files that it lists, and every file appears
under its name only when it is complete. A process that is killed in between
leaves a folder without a manifest, and that counts as empty.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_multi.data.sources import Source
from keras_multi.errors import DataError

MANIFEST = "manifest.json"


def default_cache_dir() -> Path:
    """Gives the folder that downloads are kept in.

    It is `KERAS_MULTI_CACHE`, or else `keras-multi` in `XDG_CACHE_HOME`, or
    else `~/.cache/keras-multi`.
    """
    if chosen := os.environ.get("KERAS_MULTI_CACHE"):
        return Path(chosen).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "keras-multi"
    return Path.home() / ".cache" / "keras-multi"


def read(folder: Path, sources: Sequence[Source]) -> dict[str, bytes] | None:
    """Reads the files of a data set and verifies their checksums.

    Args:
        folder: cache folder of the data set.
        sources: the sources that the files may have come from.

    Returns:
        File name to content, or `None` if the cache does not hold the data
        set.

    Raises:
        DataError: naming the file, if it is missing, truncated or changed.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        archive, digests = manifest["archive_sha256"], manifest["files"]
        expected = {source.sha256: set(source.names) for source in sources}
        if archive not in expected:
            return None
        if set(digests) != expected[archive]:
            raise DataError(f"{path} is damaged: it lists {sorted(digests)}")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged: {error!r}") from error
    return {name: _verified(folder / name, digests[name]) for name in digests}


def write(folder: Path, source: Source, files: Mapping[str, bytes]) -> None:
    """Keeps the files of a data set, then the manifest that declares them.

    Args:
        folder: cache folder of the data set; it is made if missing.
        source: the source that the files came from.
        files: file name to content.

    Raises:
        DataError: if the folder cannot be written (rights, full disk).
    """
    digests = {name: _sha256(content) for name, content in files.items()}
    manifest = {"archive_sha256": source.sha256, "files": digests}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            _replace(folder / name, content)
        _replace(folder / MANIFEST, json.dumps(manifest, indent=2).encode())
    except OSError as error:
        raise DataError(
            f"Cannot write the data cache {folder}: {error.strerror}. Free "
            "the place or set KERAS_MULTI_CACHE to another folder."
        ) from error


def _verified(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if _sha256(content) != sha256:
        raise DataError(
            f"{path} is truncated or changed: it has {len(content):,} bytes "
            f"and another SHA-256 than {MANIFEST} says"
        )
    return content


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
