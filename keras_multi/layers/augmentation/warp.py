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

clip: Callable[..., Any] = backend.framework().clip
literal: Callable[..., Any] = backend.framework().literal
gather: Callable[..., Any] = backend.framework().gather
pack: Callable[..., Any] = backend.framework().pack
stage: Callable[..., Any] = backend.framework().stage
unpack: Callable[..., Any] = backend.framework().unpack
_shift = ops.right_shift  # TensorFlow has no `>>`


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
    sample = _nearest if interpolation == "nearest" else _bilinear
    return unpack(sample(images, maps, fill * 0x010101, gate))


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
    index = _index(_pixel(x, size[1]), _pixel(y, size[0]), *size)
    found = gather(ops.reshape(classes, (-1,)), index)
    inside = _inside(x, size[1]) & _inside(y, size[0])
    return ops.where(inside, found, ops.zeros_like(found))


def _places(maps: Any, height: int, width: int) -> tuple[Any, Any]:
    """Where in the input the middles of the output's pixels lie.

    Returns:
        x and y, int32 `(batch, height, width)`, in 1/65536 pixel.
    """
    lines = ops.reshape(maps, (-1, 2, 3))
    middle = literal((0.5, 0.5, 1.0), "float32", lines)
    first = ops.sum(lines * middle, axis=2, keepdims=True)
    numbers = ops.concatenate([lines[:, :, :2], first], axis=2) * PIXEL
    fixed = ops.cast(ops.floor(numbers + 0.5), "int32")[..., None, None]
    columns = ops.arange(width, dtype="int32")[None, None, :]
    rows = ops.arange(height, dtype="int32")[None, :, None]
    x, y = (
        fixed[:, i, 0] * columns + (fixed[:, i, 1] * rows + fixed[:, i, 2])
        for i in range(2)
    )
    return x, y


def _inside(place: Any, side: int) -> Any:
    return ops.equal(clip(place, 0, side * PIXEL - 1), place)


def _pixel(place: Any, side: int) -> Any:
    """The pixel of a place, or the closest one."""
    return _shift(clip(place, 0, side * PIXEL - 1), PIXEL_BITS)


def _index(x: Any, y: Any, height: int, width: int) -> Any:
    """Position of the pixel (x, y) in a flat batch."""
    images = ops.arange(ops.shape(x)[0], dtype="int32")[:, None, None]
    return (y * width + images * (height * width)) + x


def _nearest(images: Any, maps: Any, fill: int, gate: Any) -> Any:
    """Puts a border of one pixel around, to which all that is outside goes."""
    (height, width), batch = images.shape[1:3], ops.shape(images)[0]
    wide, size = width + 2, (height + 2) * (width + 2)

    def bordered() -> Any:
        border = ((0, 0), (1, 1), (1, 1))
        packed = ops.pad(pack(images), border, constant_values=fill)
        return ops.reshape(packed, (-1,))

    def index() -> Any:
        x, y = _places(maps, height, width)
        x = clip(_shift(x, PIXEL_BITS), -1, width)
        y = clip(_shift(y, PIXEL_BITS), -1, height)
        first = ops.arange(batch, dtype="int32") * size + (wide + 1)
        return y * wide + x + first[:, None, None]

    packed = stage(gate, bordered, (batch * size,), "int32")
    shape = (batch, height, width)
    index = stage(gate, index, shape, "int32")
    return stage(gate, lambda: gather(packed, index), shape, "int32")


def _bilinear(images: Any, maps: Any, fill: int, gate: Any) -> Any:
    """Weighs four neighbors; red and blue share each multiplication.

    The 8-bit weights add up to 256, so no sum of products outgrows its 16
    bits.
    """
    (height, width), batch = images.shape[1:3], ops.shape(images)[0]
    packed = stage(
        gate,
        lambda: ops.reshape(pack(images), (-1,)),
        (batch * height * width,),
        "int32",
    )

    def mixed() -> Any:
        x, y = _places(maps, height, width)
        # From here on relative to the middle of the first pixel.
        u = clip(x - PIXEL // 2, 0, (width - 1) * PIXEL)
        v = clip(y - PIXEL // 2, 0, (height - 1) * PIXEL)
        left, top = _shift(u, PIXEL_BITS), _shift(v, PIXEL_BITS)
        right = ops.minimum(left + 1, width - 1)
        bottom = ops.minimum(top + 1, height - 1)
        to_right, to_bottom = _shift(u, 8) & 255, _shift(v, 8) & 255
        both = _shift(to_right * to_bottom, 8)
        neighbors = (
            (left, top, 256 - to_right - to_bottom + both),
            (right, top, to_right - both),
            (left, bottom, to_bottom - both),
            (right, bottom, both),
        )
        red_and_blue = green = 0
        for column, row, weight in neighbors:
            colors = gather(packed, _index(column, row, height, width))
            red_and_blue = red_and_blue + (colors & RED_AND_BLUE) * weight
            green = green + _shift(colors & GREEN, 8) * weight
        half = 128
        red_and_blue = _shift(red_and_blue + half * 0x010001, 8)
        colors = (red_and_blue & RED_AND_BLUE) | ((green + half) & GREEN)
        inside = _inside(x, width) & _inside(y, height)
        return ops.where(inside, colors, fill)

    return stage(gate, mixed, (batch, height, width), "int32")
