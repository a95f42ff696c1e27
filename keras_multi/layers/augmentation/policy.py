"""What RandAugment and TrivialAugment share."""

from abc import abstractmethod
from typing import Any

from keras import ops

from keras_multi.layers.augmentation import deal, operations, targets
from keras_multi.layers.augmentation.base import (
    Augmentation,
    Batch,
    Draws,
)
from keras_multi.layers.augmentation.checks import (
    check_bytes,
    check_share,
    check_value_range,
    is_bytes,
    require_colors,
)
from keras_multi.layers.augmentation.warp import INTERPOLATIONS, LARGEST_SIDE


class Policy(Augmentation):
    """Carries out operations of RandAugment, each image its own.

    The images become bytes on the way in and what they were on the way out,
    so floats are rounded to 256 levels. NaN becomes the lowest value.

    Args:
        value_range: lowest and highest value of float images.
        num_ops: operations on each image, one after the other.
        probability: with which an operation is carried out.
        interpolation: `"nearest"` or `"bilinear"`, of moved images.
        fill_level: gray level in [0, 255] of pixels from outside the image.
        **kwargs: arguments of `Augmentation`.

    Raises:
        ValueError: if an argument is out of range, and in `call` if images
            do not have three channels, are larger than 4096 pixels or are
            uint8 with a `value_range` other than (0, 255).
    """

    ranges = operations.Ranges()

    def __init__(
        self,
        value_range: tuple[float, float] = (0, 255),
        num_ops: int = 1,
        probability: float = 1.0,
        interpolation: str = "nearest",
        fill_level: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_ops < 0:
            raise ValueError(
                f"`num_ops` must not be negative. Received: num_ops={num_ops}"
            )
        check_share("probability", probability)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"`interpolation` must be one of {INTERPOLATIONS}. "
                f"Received: interpolation={interpolation!r}"
            )
        if not 0 <= fill_level <= 255:
            raise ValueError(
                "`fill_level` must lie in [0, 255]. "
                f"Received: fill_level={fill_level}"
            )
        self.value_range = check_value_range(value_range)
        self.num_ops = num_ops
        self.probability = probability
        self.interpolation = interpolation
        self.fill_level = fill_level

    @abstractmethod
    def draw_strength(self, *shape: Any) -> Any:
        """Draws strengths in [0, 1]."""

    def draw(self, batch_size: Any) -> Draws:
        return {
            "uniform": self.uniform(self.num_ops, 4, batch_size),
            "strength": self.draw_strength(self.num_ops, batch_size),
        }

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        images = batch["images"]
        require_colors(images)
        height, width = images.shape[1:3]
        if max(height, width) > LARGEST_SIDE:
            raise ValueError(
                f"Images must not be larger than {LARGEST_SIDE} pixels. "
                f"Received: height={height}, width={width}"
            )
        amounts = self.ranges.amounts(height, width)
        levels = self._to_levels(images)
        for step in range(self.num_ops):
            noise, negative, chance, offset = (
                draws["uniform"][step, i] for i in range(4)
            )
            dealt = deal.deal(noise, offset[0], len(operations.NAMES))
            chosen = operations.choose(
                ops.where(chance < self.probability, dealt.operations, 0),
                draws["strength"][step],
                negative < 0.5,
                amounts,
            )
            # True, but no compiler knows that (see `stage` of the backend).
            gate = offset[0] >= 0
            levels = operations.run(
                levels,
                dealt,
                chosen,
                self.interpolation,
                self.fill_level,
                gate,
            )
            if targets.follow(batch):
                maps = operations.move_maps(chosen, height, width)
                batch = targets.move(
                    batch,
                    dealt.by_image(maps),
                    height,
                    width,
                    self.min_visibility,
                )
        if not is_bytes(images):
            levels = self._from_levels(levels, images.dtype)
        return {**batch, "images": levels}

    def _to_levels(self, images: Any) -> Any:
        low, high = self.value_range
        check_bytes(images, self.value_range)
        if is_bytes(images):
            return images
        x = (ops.cast(images, "float32") - low) * (255.0 / (high - low))
        x = ops.where(ops.isnan(x), 0.0, x + 0.5)
        return ops.cast(ops.clip(x, 0.0, 255.5), "uint8")

    def _from_levels(self, levels: Any, dtype: Any) -> Any:
        low, high = self.value_range
        x = ops.cast(levels, "float32") * ((high - low) / 255.0) + low
        return ops.cast(x, dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "value_range": self.value_range,
            "num_ops": self.num_ops,
            "probability": self.probability,
            "interpolation": self.interpolation,
            "fill_level": self.fill_level,
        }
