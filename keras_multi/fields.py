"""Fields of a recipe that come from a file or the command line.

A recipe is a frozen dataclass of plain fields. What people write is checked
against its type hints, so that a wrong name or type is told at once.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from keras_multi.errors import UsageError


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads fields from a TOML file with lines such as `epochs = 8`.

    Raises:
        UsageError: if the file cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Reads fields from `NAME=VALUE`, the value as in TOML or plain text.

    Raises:
        UsageError: if there is no `=`.

    Example:
        >>> read_settings(["epochs=8", "units=[64, 32]", "loss=softmax"])
        {'epochs': 8, 'units': [64, 32], 'loss': 'softmax'}
    """
    fields: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(
                f"a setting must be NAME=VALUE. Received: {setting!r}"
            )
        try:
            fields[name] = tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            fields[name] = None if text == "none" else text
    return fields


def checked(recipe: type, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Checks names and types of fields; lists become tuples.

    Args:
        recipe: the dataclass.
        fields: values by name.

    Raises:
        UsageError: if the dataclass has no such field, or the value is of
            another type.
    """
    hints = get_type_hints(recipe)
    result = {}
    for name, value in fields.items():
        if name not in hints:
            raise UsageError(
                f"a recipe has no field {name!r}; it has {', '.join(hints)}"
            )
        result[name] = _fitting(name, value, hints[name])
    return result


def _fitting(name: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) is tuple:
        kind = get_args(hint)[0]
        if isinstance(value, list | tuple):
            return tuple(_fitting(name, item, kind) for item in value)
    elif float in (options := get_args(hint) or (hint,)):
        if type(value) in (int, float):
            return float(value)
        if value is None and type(None) in options:
            return None
    elif type(value) in options:
        return value
    wanted = getattr(hint, "__name__", hint)
    raise UsageError(f"{name} must be of type {wanted}. Received: {value!r}")


def choose(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises a UsageError if a value is none of the choices."""
    if value not in choices:
        raise UsageError(
            f"unknown {name} {value!r}; choose one of {', '.join(choices)}"
        )


def require(recipe: Any, name: str, good: bool, what: str) -> None:
    """Raises a UsageError that tells a field's value if it is not good."""
    if not good:
        raise UsageError(
            f"{name} must {what}. Received: {name}={getattr(recipe, name)}"
        )
