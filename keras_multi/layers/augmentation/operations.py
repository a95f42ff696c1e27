"""The fourteen operations of RandAugment on a batch, each image its own."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import radians
from typing import Any, NamedTuple

from keras import ops

from keras_multi import backend
from keras_multi.layers.augmentation import affine, deal, pointwise
from keras_multi.layers.augmentation.enhance import saturate, sharpen
from keras_multi.layers.augmentation.equalize import equalize
from keras_multi.layers.augmentation.warp import stage, warp_colors

literal: Callable[..., Any] = backend.framework().literal

ENHANCEMENTS = ("brightness", "contrast", "color", "sharpness")
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")

# Those that are computed together stand side by side.
NAMES = (
    "identity",
    *("posterize", "solarize"),
    *("auto_contrast", "brightness", "contrast"),
    *("equalize", "color", "sharpness"),
    *MOVES,
)
ID = {name: number for number, name in enumerate(NAMES)}
SIGNED = (*ENHANCEMENTS, *MOVES)


class Ranges(NamedTuple):
    """Amounts at full strength.

    Attributes:
        posterize: bits that are dropped.
        enhance: change of the factor of brightness, contrast, color or
            sharpness, which is 1 in the original.
        rotate: degrees.
        shear: pixels to the side for each pixel.
        translate: share of the side.
        translate_pixels: pixels, on top of that.
    """

    posterize: float = 4.0
    enhance: float = 0.9
    rotate: float = 30.0
    shear: float = 0.3
    translate: float = 0.45
    translate_pixels: float = 0.0

    def amounts(self, height: int, width: int) -> list[float]:
        """One for each of `NAMES`: pixels, radians, levels, and so on."""
        by_name = {
            "posterize": self.posterize,
            "solarize": 256.0,
            **dict.fromkeys(ENHANCEMENTS, self.enhance),
            "rotate": radians(self.rotate),
            "shear_x": self.shear,
            "shear_y": self.shear,
            "translate_x": self.translate * width + self.translate_pixels,
            "translate_y": self.translate * height + self.translate_pixels,
        }
        return [by_name.get(name, 0.0) for name in NAMES]


class Chosen(NamedTuple):
    """Operations and their amounts.

    Attributes:
        ids: numbers in `NAMES`, int32 `(batch,)`.
        amounts: float32 `(batch, 14)`, 0 for what is not done.
    """

    ids: Any
    amounts: Any

    def at(self, part: Any) -> "Chosen":
        """Those of some places."""
        return Chosen(self.ids[part], self.amounts[part])

    def amount(self, name: str) -> Any:
        """The amount where the operation is this one, otherwise 0."""
        return self.amounts[:, ID[name]]


def choose(
    operations: Any, strength: Any, negative: Any, amounts: Sequence[float]
) -> Chosen:
    """Gives each operation its amount, in the direction that was drawn.

    Args:
        operations: numbers in `NAMES`, int32 `(batch,)`.
        strength: share of the full amount, `(batch,)`.
        negative: bool `(batch,)`, whether an operation that has two
            directions goes the other way.
        amounts: at full strength, one for each of `NAMES`.
    """
    table = literal(_both_ways(tuple(amounts)), "float32", strength)
    row = operations + len(NAMES) * ops.cast(negative, "int32")
    full = ops.take(table, row, axis=0)
    return Chosen(operations, full * strength[:, None])


def _both_ways(amounts: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    """Rows of `Chosen.amounts` at full strength, there and then back."""
    size = len(NAMES)
    there = [
        (0.0,) * i + (amounts[i],) + (0.0,) * (size - 1 - i)
        for i in range(size)
    ]
    back = [
        tuple(-x for x in row) if name in SIGNED else row
        for name, row in zip(NAMES, there, strict=True)
    ]
    return (*there, *back)


def run(
    images: Any,
    dealt: deal.Deal,
    chosen: Chosen,
    interpolation: str,
    fill: int,
    gate: Any,
) -> Any:
    """Carries out one operation on each image.

    Args:
        images: uint8 `(batch, height, width, 3)`.
        dealt: who undergoes what, of `len(NAMES)` operations.
        chosen: at each place the operation dealt to it, or `"identity"`.
        interpolation: `"nearest"` or `"bilinear"`, of the moves.
        fill: gray level where a moved image has no pixel.
        gate: a scalar that is true, see `keras_multi.backend.jax.stage`.

    Returns:
        uint8 `(batch, height, width, 3)`.
    """

    def unchanged(x: Any, places: slice) -> Any:
        return x

    def masked(x: Any, places: slice) -> Any:
        return _mask(x, chosen.at(places))

    def scaled(x: Any, places: slice) -> Any:
        return _scale(x, chosen.at(places))

    def equalized(x: Any, places: slice) -> Any:
        return equalize(x, chosen.ids[places] == ID["equalize"], gate)

    def saturated(x: Any, places: slice) -> Any:
        return saturate(x, chosen.at(places).amount("color"))

    def sharpened(x: Any, places: slice) -> Any:
        return sharpen(x, chosen.at(places).amount("sharpness"))

    def moved(x: Any, places: slice) -> Any:
        maps = move_maps(chosen.at(places), *x.shape[1:3])
        return warp_colors(x, maps, interpolation, fill, gate)

    by_first = {
        "identity": unchanged,
        "posterize": masked,
        "auto_contrast": scaled,
        "equalize": equalized,
        "color": saturated,
        "sharpness": sharpened,
        "rotate": moved,
    }
    bounds = [*(ID[name] for name in by_first), len(NAMES)]
    groups = [
        deal.Group(pair, compute)
        for pair, compute in zip(
            pairwise(bounds), by_first.values(), strict=True
        )
    ]
    return deal.run(images, dealt, groups, partial(stage, gate, dtype="uint8"))


def move_maps(chosen: Chosen, height: int, width: int) -> Any:
    """Affine maps `(batch, 6)`, the identity where nothing moves.

    Rotation is about the center, shear about the first row or column.
    """
    angle = chosen.amount("rotate")
    cosine, sine = ops.cos(angle), ops.sin(angle)
    rotation = affine.around_center(
        cosine, -sine, sine, cosine, height=height, width=width
    )
    zero = ops.zeros_like(angle)
    others = affine.compose(
        zero,
        chosen.amount("shear_x"),
        chosen.amount("translate_x"),
        chosen.amount("shear_y"),
        zero,
        chosen.amount("translate_y"),
    )
    return rotation + others


def _mask(images: Any, chosen: Chosen) -> Any:
    """Operations on bits; each leaves other images as they are."""
    lines = _lines(images)
    threshold = 256 - _round(chosen.amount("solarize"))
    lines = pointwise.solarize(lines, threshold)
    lines = pointwise.posterize(lines, _round(chosen.amount("posterize")))
    return ops.reshape(lines, (-1, *images.shape[1:]))


def _scale(images: Any, chosen: Chosen) -> Any:
    """Products and sums; each leaves other images as they are."""
    lines = _lines(images)
    stretch, shift = pointwise.stretch(lines)
    automatic = (chosen.ids == ID["auto_contrast"])[:, None]
    brightness = 1.0 + chosen.amount("brightness")
    contrast = 1.0 + chosen.amount("contrast")
    x = ops.cast(lines, "float32")
    offset = pointwise.mean_gray(x) * (1.0 - contrast)
    lines = pointwise.scale(
        x,
        ops.where(automatic, stretch, (brightness * contrast)[:, None]),
        ops.where(automatic, shift, offset[:, None]),
    )
    return ops.reshape(lines, (-1, *images.shape[1:]))


def _lines(images: Any) -> Any:
    height, width, channels = images.shape[1:]
    return ops.reshape(images, (-1, height, width * channels))


def _round(amount: Any) -> Any:
    return ops.cast(ops.floor(amount + 0.5), "int32")
