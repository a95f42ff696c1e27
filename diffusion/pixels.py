"""Pictures and masks as people give them, checked and scaled."""

from typing import Any

import numpy as np

from keras_multi.errors import UsageError


def to_floats(images: Any) -> np.ndarray:
    """Gives pictures in [-1, 1], float32 `(B, H, W, 3)`.

    Args:
        images: uint8 `(H, W, 3)` or `(B, H, W, 3)`.

    Raises:
        UsageError: if they are anything else.
    """
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise UsageError(
            "images must be uint8 (H, W, 3) or (B, H, W, 3). "
            f"Received: {images.dtype} {images.shape}"
        )
    if not images.size:
        raise UsageError(f"there is no pixel. Received: {images.shape}")
    return images.astype("float32") / 127.5 - 1.0


def to_bytes(pictures: np.ndarray) -> np.ndarray:
    """Gives pictures in [-1, 1] as uint8."""
    levels = np.round((pictures + 1.0) * 127.5)
    return np.clip(levels, 0, 255).astype("uint8")


def to_mask(masks: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Gives masks as bool `(B, H, W, 1)`.

    Args:
        masks: `(H, W)` or `(B, H, W)`: bool, uint8 of which 128 and more
            count as true, or floats of which 0.5 and more do.
        shape: of the pictures, `(B, H, W, 3)`.

    Raises:
        UsageError: if they are of another kind or size.
    """
    masks = np.asarray(masks)
    if masks.ndim == 2:
        masks = masks[None]
    fits = masks.ndim == 3 and masks.shape[1:] == shape[1:3]
    if not fits or masks.shape[0] not in (1, shape[0]):
        raise UsageError(
            f"the masks must be of the size of the images, {shape[1:3]}, and "
            f"one, or as many as there are. Received: {masks.shape}"
        )
    if masks.dtype == np.uint8:
        masks = masks >= 128
    elif masks.dtype.kind == "f":
        masks = masks >= 0.5
    elif masks.dtype != np.bool_:
        raise UsageError(
            f"masks must be bool, uint8 or floats. Received: {masks.dtype}"
        )
    return np.broadcast_to(masks, shape[:3])[..., None]


def shrink(masks: np.ndarray, factor: int) -> np.ndarray:
    """Gives the mask of the latents: true where any of their pixels is.

    Args:
        masks: bool `(B, H, W, 1)`.
        factor: number of pixels to a side of a latent.
    """
    batch, height, width, _ = masks.shape
    cells = masks.reshape(
        batch, height // factor, factor, width // factor, factor, 1
    )
    return cells.any(axis=(2, 4)).astype("float32")
