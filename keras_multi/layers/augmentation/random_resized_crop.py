"""Random crops of one size."""

import math
from typing import Any

import keras
from keras import ops

from keras_multi.layers.augmentation import affine, regions, targets
from keras_multi.layers.augmentation.base import (
    Augmentation,
    Batch,
    Draws,
    cast_image,
)
from keras_multi.layers.augmentation.boxes import sides
from keras_multi.layers.augmentation.checks import (
    check_interval,
)


@keras.saving.register_keras_serializable("keras_multi")
class RandomResizedCrop(Augmentation):
    """Cuts a random rectangle out of an image and resizes it.

    Szegedy et al., "Going deeper with convolutions", 2015, section 6: area
    and aspect ratio of the rectangle are random. One that is too long is cut
    to the side of the image. Outside of training the whole image is resized.

    The interpolation is linear, over all pixels that fall into one where an
    image shrinks, as Pillow's `BILINEAR`. It is a product with two matrices
    for each image, which every device is good at. Masks take the nearest
    neighbor; boxes are moved, cut and dropped where too little is left.

    Args:
        height: of the output.
        width: of the output.
        scale: least and largest share of the image's area.
        ratio: least and largest width over height, whose logarithm is
            uniform.
        **kwargs: arguments of `Augmentation`.

    Call arguments:
        inputs: as for `CutMix`.
        training: whether the rectangle is random.

    Returns:
        The same structure; images keep their dtype. They may be smaller than
        the output, and are enlarged then.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import RandomResizedCrop
        >>> images = np.zeros((8, 64, 48, 3), "uint8")
        >>> RandomResizedCrop(32, 32)(images).shape
        (8, 32, 32, 3)
    """

    def __init__(
        self,
        height: int,
        width: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if height < 1 or width < 1:
            raise ValueError(
                "`height` and `width` must be positive. "
                f"Received: height={height}, width={width}"
            )
        self.height = height
        self.width = width
        self.scale = check_interval("scale", scale, 0, 1)
        self.ratio = check_interval("ratio", ratio, 1e-3, 1e3)

    def draw(self, batch_size: Any) -> Draws:
        return self.uniform(4, batch_size)

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        region = regions.place(
            regions.between(draws[0], *self.scale),
            ops.exp(regions.between(draws[1], *map(math.log, self.ratio))),
            draws[2],
            draws[3],
            *batch["images"].shape[1:3],
        )
        return self._crop(batch, region)

    def rest(self, batch: Batch) -> Batch:
        images = batch["images"]
        region = regions.whole(*images.shape[1:3])
        rows = ops.zeros((ops.shape(images)[0], 1))
        return self._crop(batch, region + rows)

    def _crop(self, batch: Batch, region: Any) -> Batch:
        images = batch["images"]
        resized = resize(images, region, self.height, self.width)
        x1, y1, x2, y2 = sides(region)
        zero = ops.zeros_like(x1)
        maps = affine.compose(
            *((x2 - x1) / self.width, zero, x1),
            *(zero, (y2 - y1) / self.height, y1),
        )
        batch = targets.move(
            batch, maps, self.height, self.width, self.min_visibility
        )
        return {**batch, "images": cast_image(resized, images.dtype)}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "scale": self.scale,
            "ratio": self.ratio,
        }


def resize(images: Any, region: Any, height: int, width: int) -> Any:
    """Resizes a region of each image.

    Args:
        images: `(batch, input height, input width, channels)`.
        region: `(batch, 4)`.
        height: of the output.
        width: of the output.

    Returns:
        float32 `(batch, height, width, channels)`.
    """
    rows, columns, channels = images.shape[1:]
    x1, y1, x2, y2 = sides(region)
    x = ops.cast(images, "float32")
    x = ops.reshape(x, (-1, rows, columns * channels))
    x = ops.matmul(_weights(y1, y2, rows, height), x)
    x = ops.reshape(x, (-1, height, columns, channels))
    x = ops.reshape(
        ops.transpose(x, (0, 2, 1, 3)), (-1, columns, height * channels)
    )
    x = ops.matmul(_weights(x1, x2, columns, width), x)
    x = ops.reshape(x, (-1, width, height, channels))
    return ops.transpose(x, (0, 2, 1, 3))


def _weights(start: Any, stop: Any, pixels: int, outputs: int) -> Any:
    """Shares of a line's pixels in those of the output.

    Args:
        start: first pixel that counts, `(batch,)`.
        stop: the one after the last, `(batch,)`.
        pixels: of the line.
        outputs: number of pixels of the output.

    Returns:
        float32 `(batch, outputs, pixels)`, each row with sum 1.
    """
    start, stop = start[:, None, None], stop[:, None, None]
    step = (stop - start) / outputs
    out = ops.arange(outputs, dtype="float32")[None, :, None]
    places = ops.arange(pixels, dtype="float32")[None, None, :] + 0.5
    center = start + (out + 0.5) * step
    reach = ops.maximum(step, 1.0)
    weights = ops.maximum(1.0 - ops.abs(places - center) / reach, 0.0)
    weights = ops.where((places > start) & (places < stop), weights, 0.0)
    return weights / ops.sum(weights, axis=-1, keepdims=True)
