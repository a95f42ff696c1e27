"""What CutMix and MixUp share: partners, shares and labels."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from keras_multi import backend
from keras_multi.layers.augmentation import boxes, regions
from keras_multi.layers.augmentation.base import (
    Augmentation,
    Batch,
    Draws,
    per_image,
)
from keras_multi.layers.augmentation.checks import (
    check_share,
)
from keras_multi.layers.augmentation.regions import covered, lines

blend: Callable[..., Any] = backend.framework().blend
paste: Callable[..., Any] = backend.framework().paste


class Mixture(NamedTuple):
    """How images are mixed with their partners.

    Attributes:
        share: of the own label in the new one, `(batch,)` or `(1,)`.
        region: what is pasted over, as boxes of whole numbers, `(batch, 4)`
            or `(1, 4)`; `None` where nothing is.
        weight: of the own image outside of the region, `(batch,)` or
            `(1,)`; `None` where it is 1.
    """

    share: Any
    region: Any = None
    weight: Any = None


class Mixing(Augmentation):
    """Mixes each image of a batch with another one.

    The partners are a random permutation of the batch. Boxes of both images
    are joined, those of the partner last.

    Args:
        num_classes: number of classes, needed where labels are integers.
        label_smoothing: share of each label that is spread over all classes,
            in [0, 1].
        per_sample: whether each image has a mixture of its own, or the whole
            batch has one, as in the papers.
        probability: with which images are mixed, those of a batch together
            unless `per_sample`.
        **kwargs: arguments of `Augmentation`.

    Raises:
        ValueError: if an argument is out of range, and in `call` if labels
            are integers and `num_classes` is missing, or are of another
            number of classes.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        label_smoothing: float = 0.0,
        per_sample: bool = True,
        probability: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_classes is not None and num_classes < 1:
            raise ValueError(
                "`num_classes` must be positive. "
                f"Received: num_classes={num_classes}"
            )
        check_share("label_smoothing", label_smoothing)
        check_share("probability", probability)
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.per_sample = per_sample
        self.probability = probability

    @abstractmethod
    def mixture(self, draws: Draws, height: int, width: int) -> Mixture:
        """How to mix, from `draws["mixture"]`, six uniform rows."""

    def draw(self, batch_size: Any) -> Draws:
        mixtures = batch_size if self.per_sample else 1
        numbers = self.uniform(batch_size + 6 * mixtures)
        return {
            "partner": numbers[:batch_size],
            "mixture": ops.reshape(numbers[batch_size:], (6, mixtures)),
        }

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        height, width = batch["images"].shape[1:3]
        mixture = self.mixture(draws["mixture"], height, width)
        partner = ops.argsort(draws["partner"])
        mixed = {"images": mix_images(batch["images"], partner, mixture)}
        if "labels" in batch:
            mixed["labels"] = self._mix_labels(
                batch["labels"], partner, mixture.share
            )
        if "segmentation_masks" in batch:
            mixed["segmentation_masks"] = mix_classes(
                batch["segmentation_masks"], partner, mixture
            )
        if "bounding_boxes" in batch:
            mixed["bounding_boxes"] = mix_boxes(
                batch["bounding_boxes"],
                partner,
                mixture,
                self.min_visibility,
                regions.whole(height, width),
            )
        return mixed

    def _mix_labels(self, labels: Any, partner: Any, share: Any) -> Any:
        labels = self._by_class(labels)
        share = share[:, None]
        others = ops.take(labels, partner, axis=0)
        return labels * share + others * (1.0 - share)

    def _by_class(self, labels: Any) -> Any:
        """Smoothed float labels `(batch, classes)`; an unknown class has 0."""
        if len(labels.shape) == 1:
            if self.num_classes is None:
                raise ValueError(
                    "`num_classes` must be given where labels are integers. "
                    f"Received: labels of shape={tuple(labels.shape)}"
                )
            classes = ops.arange(self.num_classes, dtype="int32")
            labels = ops.cast(labels, "int32")[:, None] == classes
        labels = ops.cast(labels, "float32")
        classes = labels.shape[1]
        if self.num_classes not in (None, classes):
            raise ValueError(
                f"Labels must have `num_classes`={self.num_classes} columns. "
                f"Received: shape={tuple(labels.shape)}"
            )
        if self.label_smoothing == 0:
            return labels
        kept = 1.0 - self.label_smoothing
        return labels * kept + self.label_smoothing / classes

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "label_smoothing": self.label_smoothing,
            "per_sample": self.per_sample,
            "probability": self.probability,
        }


def mix_images(images: Any, partner: Any, mixture: Mixture) -> Any:
    """Mixes `(batch, height, width, channels)` with partners' images."""
    mixed = images
    if mixture.weight is not None:
        mixed = blend(images, partner, per_image(mixture.weight))
    if mixture.region is not None:
        rows, columns = lines(mixture.region, *images.shape[1:3])
        mixed = paste(mixed, images, partner, rows, columns)
    return mixed


def mix_classes(classes: Any, partner: Any, mixture: Mixture) -> Any:
    """Mixes `(batch, height, width)`; the larger part of a blend counts."""
    others = ops.take(classes, partner, axis=0)
    mixed = classes
    if mixture.weight is not None:
        own = mixture.weight[:, None, None] >= 0.5
        mixed = ops.where(own, mixed, others)
    if mixture.region is not None:
        inside = covered(mixture.region, *classes.shape[1:])
        mixed = ops.where(inside, others, mixed)
    return mixed


def mix_boxes(
    bounding_boxes: boxes.BoundingBoxes,
    partner: Any,
    mixture: Mixture,
    min_visibility: float,
    image: Any,
) -> boxes.BoundingBoxes:
    """Joins the boxes that can be seen of both images.

    Args:
        bounding_boxes: of the own images.
        partner: `(batch,)`.
        mixture: what is pasted and blended.
        min_visibility: share of its area that a box must keep.
        image: the region of a whole image, `(1, 4)`.
    """
    others = boxes.select(bounding_boxes, partner)
    own, seen = bounding_boxes, ops.zeros_like(image)
    if mixture.region is not None:
        own = boxes.hide(own, mixture.region, min_visibility)
        seen = mixture.region
    if mixture.weight is not None:
        seen = ops.where(mixture.weight[:, None] < 1, image, seen)
    return boxes.join(own, boxes.clip(others, seen, min_visibility))
