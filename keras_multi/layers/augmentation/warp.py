"""Images under affine maps (see `affine`), one gather per pixel.

Places are computed in integers of 1/65536 pixel, as Pillow does for nearest
neighbors: faster than floats, and alike on every backend and compiler.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_multi import backend

INTERPOLATIONS = ("nearest", "bilinear")
LARGEST_SIDE = 4096  # beyond it, places may not fit into 32 bits
PIXEL_BITS = 16
PIXEL = 1 << PIXEL_BITS
RED_AND_BLUE, GREEN = 0xFF00FF, 0xFF00

_shift = ops.right_shift  # TensorFlow has no `>>`
stage: Callable[..., Any] = backend.framework().stage


def warp_colors(
    images: Any, maps: Any, interpolation: str, fill: int, gate: Any
) -> Any:
    """Warps images of bytes, each by a map of its own.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        maps: float32 `(batch, 6)`.
        interpolation: `"nearest"` or `"bilinear"`; the weights of the latter
            have 8 bits.
        fill: gray level where the input has no pixel.
        gate: a scalar that is true, see `keras_multi.backend.jax.stage`.

    Returns:
        uint8 `(batch, height, width, 3)`.
    """
    batch, (height, width) = ops.shape(images)[0], images.shape[1:3]
    x, y = _places(maps, height, width)
    sample = _nearest if interpolation == "nearest" else _bilinear

    packed = stage(
        gate, lambda: _pack(images), (batch * height * width,), "int32"
    )
    colors = sample(packed, x, y, height, width, gate)
    inside = _inside(x, y, height, width)
    return _unpack(ops.where(inside, colors, fill * 0x010101))


def warp_classes(classes: Any, maps: Any, height: int, width: int) -> Any:
    """Warps masks to the nearest neighbors; class 0 fills what is outside.

    Args:
        classes: `(batch, input height, input width)`.
        maps: float32 `(batch, 6)`.
        height: of the output.
        width: of the output.

    Returns:
        `(batch, height, width)`.
    """
    size = classes.shape[1:]
    x, y = _places(maps, height, width)
    index = _index(_shift(x, PIXEL_BITS), _shift(y, PIXEL_BITS), *size)
    found = ops.take(ops.reshape(classes, (-1,)), index, axis=0)
    return ops.where(_inside(x, y, *size), found, ops.zeros_like(found))


def _places(maps: Any, height: int, width: int) -> tuple[Any, Any]:
    """Where in the input the middles of the output's pixels lie.

    Returns:
        x and y, int32 `(batch, height, width)`, in 1/65536 pixel.
    """
    a, b, c, d, e, f = (maps[:, i, None, None] for i in range(6))
    columns = ops.arange(width, dtype="int32")[None, None, :]
    rows = ops.arange(height, dtype="int32")[None, :, None]
    x = _fixed(a) * columns + (_fixed(b) * rows + _fixed(c + (a + b) / 2))
    y = _fixed(d) * columns + (_fixed(e) * rows + _fixed(f + (d + e) / 2))
    return x, y


def _fixed(value: Any) -> Any:
    return ops.cast(ops.floor(value * PIXEL + 0.5), "int32")


def _inside(x: Any, y: Any, height: int, width: int) -> Any:
    columns = (x >= 0) & (x < width * PIXEL)
    return columns & (y >= 0) & (y < height * PIXEL)


def _index(x: Any, y: Any, height: int, width: int) -> Any:
    """Position in a flat batch of the pixel (x, y), or of the closest one."""
    images = ops.arange(ops.shape(x)[0], dtype="int32")[:, None, None]
    row = images * height + ops.clip(y, 0, height - 1)
    return row * width + ops.clip(x, 0, width - 1)


def _nearest(
    packed: Any, x: Any, y: Any, height: int, width: int, gate: Any
) -> Any:
    shape = (ops.shape(x)[0], height, width)

    def index() -> Any:
        return _index(
            _shift(x, PIXEL_BITS), _shift(y, PIXEL_BITS), height, width
        )

    index = stage(gate, index, shape, "int32")
    return stage(gate, lambda: ops.take(packed, index, axis=0), shape, "int32")


def _bilinear(
    packed: Any, x: Any, y: Any, height: int, width: int, gate: Any
) -> Any:
    """Weighs four neighbors; red and blue share each multiplication.

    The 8-bit weights add up to 256, so no sum of products outgrows its 16
    bits.
    """
    # From here on relative to the middle of the first pixel.
    x = ops.clip(x - PIXEL // 2, 0, (width - 1) * PIXEL)
    y = ops.clip(y - PIXEL // 2, 0, (height - 1) * PIXEL)

    def mixed() -> Any:
        left, top = _shift(x, PIXEL_BITS), _shift(y, PIXEL_BITS)
        to_right, to_bottom = _shift(x, 8) & 255, _shift(y, 8) & 255
        both = _shift(to_right * to_bottom, 8)
        neighbors = (
            (0, 0, 256 - to_right - to_bottom + both),
            (1, 0, to_right - both),
            (0, 1, to_bottom - both),
            (1, 1, both),
        )
        red_and_blue = green = 0
        for right, down, weight in neighbors:
            index = _index(left + right, top + down, height, width)
            colors = ops.take(packed, index, axis=0)
            red_and_blue = red_and_blue + (colors & RED_AND_BLUE) * weight
            green = green + _shift(colors & GREEN, 8) * weight
        half = 128
        red_and_blue = _shift(red_and_blue + half * 0x010001, 8)
        return (red_and_blue & RED_AND_BLUE) | ((green + half) & GREEN)

    return stage(gate, mixed, (ops.shape(x)[0], height, width), "int32")


def _pack(images: Any) -> Any:
    """Bytes `(batch, height, width, 3)` to one flat int32 per pixel."""
    red, green, blue = (ops.cast(images[..., i], "int32") for i in range(3))
    return ops.reshape(
        red | ops.left_shift(green, 8) | ops.left_shift(blue, 16), (-1,)
    )


def _unpack(packed: Any) -> Any:
    channels = [packed & 255, _shift(packed, 8) & 255, _shift(packed, 16) & 255]
    return ops.stack([ops.cast(c, "uint8") for c in channels], axis=-1)
