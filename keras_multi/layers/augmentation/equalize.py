"""Histogram equalization."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_multi import backend
from keras_multi.layers.augmentation.warp import gather, stage

LEVELS = 256

histogram: Callable[..., Any] = backend.framework().histogram


def equalize(images: Any, meant: Any, gate: Any) -> Any:
    """Spreads the levels of each channel, as `ImageOps.equalize` of Pillow.

    Args:
        images: uint8 `(batch, height, width, channels)`.
        meant: bool `(batch,)`, whether an image is to be equalized.
        gate: a scalar that is true, see `keras_multi.backend.jax.stage`.

    Returns:
        uint8 `(batch, height, width, channels)`.
    """
    batch, (height, width, channels) = ops.shape(images)[0], images.shape[1:]
    tables = batch * channels

    def index() -> Any:
        # PyTorch adds along whole lines, slowly along three channels.
        table = ops.arange(tables, dtype="int32") * LEVELS
        starts = ops.tile(ops.reshape(table, (-1, channels)), (1, width))
        lines = ops.reshape(images, (-1, height, width * channels))
        index = ops.cast(lines, "int32") + starts[:, None, :]
        return ops.reshape(index, (-1,))

    size = tables * height * width
    index = stage(gate, index, (size,), "int32")
    counts = stage(
        gate,
        lambda: histogram(index, tables * LEVELS),
        (tables * LEVELS,),
        "int32",
    )
    table = _table(ops.reshape(counts, (-1, channels, LEVELS)))
    table = ops.where(
        meant[:, None, None], table, ops.arange(LEVELS, dtype="int32")
    )
    table = stage(
        gate,
        lambda: ops.reshape(ops.cast(table, "uint8"), (-1,)),
        (tables * LEVELS,),
        "uint8",
    )
    levels = stage(gate, lambda: gather(table, index), (size,), "uint8")
    return ops.reshape(levels, (-1, height, width, channels))


def _table(counts: Any) -> Any:
    """New level of each level, int32, from counts `(..., LEVELS)`.

    Pillow's rule: the pixels below a level, and half a step, over the step,
    which is a 255th of the pixels that do not have the highest level.
    """
    levels = ops.arange(LEVELS, dtype="int32")
    occurs = counts > 0
    highest = ops.amax(ops.where(occurs, levels, 0), axis=-1, keepdims=True)
    at_highest = ops.where(levels == highest, counts, 0)
    below = ops.cumsum(counts, axis=-1) - counts
    total = ops.sum(counts, axis=-1, keepdims=True)
    step = (total - ops.sum(at_highest, axis=-1, keepdims=True)) // (LEVELS - 1)
    spread = (below + step // 2) // ops.maximum(step, 1)
    return ops.where(step > 0, ops.minimum(spread, LEVELS - 1), levels)
