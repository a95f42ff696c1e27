"""Checks of arguments and inputs of augmentation layers."""

from typing import Any

import keras


def check_share(name: str, value: float) -> None:
    """Raises a ValueError if a value is not in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(
            f"`{name}` must lie in [0, 1]. Received: {name}={value}"
        )


def check_positive(name: str, value: float) -> None:
    """Raises a ValueError if a value is not above 0."""
    if not value > 0:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value}")


def check_interval(
    name: str, value: tuple[float, float], low: float, high: float
) -> tuple[float, float]:
    """Gives a pair of numbers as floats, if they rise and lie in a range.

    Raises:
        ValueError: if they do not.
    """
    pair = tuple(float(v) for v in value)
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise ValueError(
            f"`{name}` must be two numbers that rise, in [{low}, {high}]. "
            f"Received: {name}={value}"
        )
    return pair[0], pair[1]


def check_value_range(value: tuple[float, float]) -> tuple[float, float]:
    """Gives the range as floats.

    Raises:
        ValueError: if it does not rise.
    """
    low, high = value
    if not low < high:
        raise ValueError(
            "`value_range` must be two numbers, the second one larger. "
            f"Received: value_range={value}"
        )
    return float(low), float(high)


def is_bytes(images: Any) -> bool:
    """Whether images are uint8."""
    dtype: str = keras.backend.standardize_dtype(images.dtype)
    return dtype == "uint8"


def check_bytes(images: Any, value_range: tuple[float, float]) -> None:
    """Raises a ValueError if bytes are said to have another range."""
    if is_bytes(images) and value_range != (0.0, 255.0):
        raise ValueError(
            "uint8 images have values in (0, 255). "
            f"Received: value_range={value_range}"
        )


def require_colors(images: Any) -> None:
    """Raises a ValueError if images do not have three channels."""
    if images.shape[3] != 3:
        raise ValueError(
            "Images must have three channels, red, green and blue. "
            f"Received: shape={tuple(images.shape)}, channels last"
        )
