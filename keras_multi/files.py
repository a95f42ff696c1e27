"""Files of a run: complete or not there at all."""

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_multi import backend
from keras_multi.errors import DataError, KerasMultiError

RECIPE = "recipe.json"  # of a run
METRICS = "metrics.json"  # the same; written last, so that all else is there


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path that takes the place of `path` at the end.

    Args:
        path: the file to write. Its suffix is that of the temporary path.

    Yields:
        The path to write to, in the same folder.

    Raises:
        KerasMultiError: if the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise KerasMultiError(
            f"cannot write {path}: {error.strerror or error}; free some space "
            "or choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes a JSON file.

    Raises:
        KerasMultiError: if it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a JSON file that holds one object.

    Raises:
        DataError: if it cannot be read or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}; is this the folder of a "
            "finished training run?"
        ) from error
    except ValueError as error:
        raise DataError(
            f"{path} is damaged: it is not JSON; train again"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: it holds no object; train again")
    return content


def prepare_folder(path: str | os.PathLike[str]) -> Path:
    """Makes a folder and proves that files can be written to it.

    Returns:
        The folder.

    Raises:
        KerasMultiError: if it cannot be made or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KerasMultiError(
            f"cannot make the folder {folder}: {error.strerror}; choose "
            "another one"
        ) from error
    with replacing(folder / "probe") as probe:
        probe.touch()
    (folder / "probe").unlink()
    return folder


def write_model(path: Path, model: Any) -> None:
    """Writes a Keras model to a `.keras` file.

    Raises:
        KerasMultiError: if it cannot be written.
    """
    with replacing(path) as temporary, backend.without_tensorflow():
        model.save(temporary)


def read_model(path: Path, remedy: str = "train again") -> Any:
    """Reads a saved Keras model, not compiled.

    Args:
        path: a `.keras` file; the classes of its layers must be registered.
        remedy: what the message advises if the file cannot be read.

    Raises:
        DataError: if it cannot be read.
    """
    import keras

    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(
            f"{path} cannot be loaded: {reason}; {remedy}"
        ) from error
