"""The function that builds a user's model, found in a file."""

import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_multi.errors import UsageError

BuildFunction = Callable[[], Any]

# What a user's code may raise; `SystemExit` must not end the process.
RAISED = (Exception, SystemExit)

_HALF = 150
_OWN = Path(__file__).resolve().parents[1]
_PYTHON = Path(sysconfig.get_path("stdlib")).resolve()


def find(reference: str) -> BuildFunction:
    """Imports the function that a command line names.

    Args:
        reference: `FILE.py:FUNCTION`. The file may import its neighbours.

    Returns:
        The function, which takes no argument.

    Raises:
        UsageError: if the file or the function is not there, or the file
            cannot be imported; the message says why, with the line.

    Example:
        >>> from keras_multi.portability import source
        >>> build = source.find("my_model.py:build")  # doctest: +SKIP
    """
    path, name = split(reference)
    module = load_file(path)
    function = getattr(module, name, None)
    if not callable(function):
        found = ", ".join(
            n
            for n, f in vars(module).items()
            if inspect.isfunction(f) and f.__module__ == module.__name__
        )
        raise UsageError(
            f"{str(path)!r} has no function {name!r}; "
            f"it has {found or 'no function'}"
        )
    function_found: BuildFunction = function
    return function_found


def split(reference: str) -> tuple[Path, str]:
    """Takes `FILE.py:FUNCTION` apart.

    Raises:
        UsageError: if it is not of this form, or there is no such file.
    """
    file, colon, name = reference.rpartition(":")
    if not (colon and file.endswith(".py") and name.isidentifier()):
        raise UsageError(
            "a model is named FILE.py:FUNCTION, such as my_model.py:build. "
            f"Received: {reference}"
        )
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"there is no file {file!r}")
    return path, name


def load_file(path: Path) -> ModuleType:
    """Imports a Python file, which may import its neighbours.

    Args:
        path: the file.

    Raises:
        UsageError: if it is no Python or raises; the message says where.
    """
    root = _root(path)
    name = f"user_model_{path.stem}"
    sys.path.insert(0, str(root))
    try:
        if root != path.resolve().parent:
            inside = path.resolve().relative_to(root).with_suffix("")
            return importlib.import_module(".".join(inside.parts))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(
            f"{error.filename or str(path)!r} is not Python: "
            f"line {error.lineno}: {error.msg}"
        ) from error
    except RAISED as error:
        raise UsageError(
            f"importing {str(path)!r} raised {where(error, path)}"
        ) from error
    return module


def _root(path: Path) -> Path:
    """The folder of a file, or the one above the package that it is in."""
    folder = path.resolve().parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def where(error: BaseException, path: Path | None = None) -> str:
    """The error in one line, with the place in the user's code.

    Args:
        error: what was raised.
        path: the user's file.
    """
    error = _origin(error)
    place = line_of(error, path)
    shown = f" ({place[0]}:{place[1]})" if place else ""
    message = " ".join(str(error).split())
    if len(message) > 2 * _HALF:
        message = f"{message[:_HALF]} ... {message[-_HALF:]}"
    return f"{type(error).__name__}{shown}: {message}"


def _origin(error: BaseException) -> BaseException:
    """The error that a library was handling when it failed by itself."""
    context = error.__context__
    frames = traceback.extract_tb(error.__traceback__)
    if context is None or (frames and _is_users(frames[-1].filename)):
        return error
    earlier = traceback.extract_tb(context.__traceback__)
    if any(_is_users(frame.filename) for frame in earlier):
        return _origin(context)
    return error


def line_of(
    error: BaseException, path: Path | None = None
) -> tuple[str, int] | None:
    """File and line of the last step of an error that was the user's.

    That is the last one in `path`, or in a file beside or below it; without
    any, the last one outside of Python and the installed packages.

    Args:
        error: what was raised.
        path: the user's file.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(_origin(error).__traceback__)
        if _is_users(frame.filename)
    ]
    if path is not None:
        folder = path.resolve().parent
        near = [
            frame
            for frame in frames
            if folder in Path(frame.filename).resolve().parents
        ]
        frames = near or frames
    if not frames:
        return None
    return frames[-1].filename, frames[-1].lineno or 0


def _is_users(file: str) -> bool:
    parents = Path(file).resolve().parents
    return not (
        file.startswith("<")
        or "site-packages" in file
        or _OWN in parents
        or _PYTHON in parents
    )
