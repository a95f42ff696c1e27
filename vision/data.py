"""Images to train on: data sets by name, or a folder for each class."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_multi.errors import DataError
from vision import cifar, emoji, folder, mnist

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
SEED = 42


@dataclass(frozen=True)
class Examples:
    """Images with their classes.

    Attributes:
        images: uint8 `(n, size, size, 3)`.
        labels: int32 `(n,)`, positions in the names of the classes.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Examples":
        """Selects rows by mask or position."""
        return Examples(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Split:
    """A data set, cut into parts that share no image.

    Attributes:
        class_names: one for each class.
        train: what a model learns from.
        test: what results are reported on.
        validation: what decides when to stop; `None` where nothing does.
    """

    class_names: tuple[str, ...]
    train: Examples
    test: Examples
    validation: Examples | None = None

    def with_validation(self) -> "Split":
        """Keeps a tenth of the training images of each class apart."""
        apart = stratified(self.train.labels, VALIDATION_SHARE)
        return dataclasses.replace(
            self,
            train=self.train.take(~apart),
            validation=self.train.take(apart),
        )


def load(
    data: str,
    size: int,
    skip_damaged: bool = False,
    validation: bool = False,
) -> Split:
    """Loads images in the split that results are reported on.

    The 5,000 digits of `"mnist-5k"` are split at random into 4,000 and 1,000.
    `"cifar10"` has a test part of its own. Of `"emoji"` and of a folder, a
    fifth of each class is the test part. The seed is 42.

    Args:
        data: `"mnist-5k"`, `"cifar10"`, `"emoji"`, or a folder with one
            folder of images for each class.
        size: height and width of the images in pixels. Others are resized and
            cut to a square around the middle.
        skip_damaged: whether to leave out files of a folder that are no
            images, or to refuse them.
        validation: whether to keep images apart for early stopping.

    Returns:
        The split.

    Raises:
        DataError: if the data cannot be fetched or used.
    """
    if data == "cifar10":
        parts = cifar.load(size)
        split = Split(
            cifar.CLASS_NAMES,
            *(examples(*part, cifar.CLASS_NAMES) for part in parts),
        )
    elif data == "mnist-5k":
        whole = examples(*mnist.load(size), mnist.CLASS_NAMES)
        order = np.random.default_rng(SEED).permutation(len(whole))
        cut = round(len(whole) * (1 - TEST_SHARE))
        split = Split(
            mnist.CLASS_NAMES, whole.take(order[:cut]), whole.take(order[cut:])
        )
    else:
        images, labels, names = (
            emoji.load(size)
            if data == "emoji"
            else folder.load(data, size, skip_damaged)
        )
        whole = examples(images, labels, names)
        apart = stratified(whole.labels, TEST_SHARE)
        split = Split(names, whole.take(~apart), whole.take(apart))
    return split.with_validation() if validation else split


def examples(
    images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> Examples:
    """Checks images and labels.

    Args:
        images: uint8 or float in [0, 255], `(n, height, width, 3)`.
        labels: integers `(n,)` from 0 to the number of classes - 1.
        class_names: one for each class.

    Returns:
        The examples; float images are rounded to bytes.

    Raises:
        DataError: if shapes do not fit, a value is NaN or out of range, or
            there is one class only, or a class without images.

    Example:
        >>> images = np.zeros((2, 8, 8, 3))
        >>> len(examples(images, np.array([0, 1]), ["cat", "dog"]))
        2
    """
    if images.ndim != 4 or images.shape[3] != 3:
        raise DataError(
            "images must have the shape (n, height, width, 3). "
            f"Received: shape={images.shape}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(
            f"{len(images):,} images need as many integer labels. "
            f"Received: shape={labels.shape}, dtype={labels.dtype}"
        )
    if images.dtype != np.uint8:
        inside = (images >= 0) & (images <= 255)  # false where NaN
        if not inside.all():
            bad = np.flatnonzero(~inside.all(axis=(1, 2, 3)))
            raise DataError(
                "values of images must lie in [0, 255]; "
                f"{len(bad):,} images hold NaN or others, the first one is "
                f"number {bad[0]}"
            )
        images = np.rint(images).astype(np.uint8)
    if len(class_names) < 2:
        raise DataError(
            "at least two classes are needed to learn. "
            f"Received: {', '.join(class_names) or 'none'}"
        )
    outside = (labels < 0) | (labels >= len(class_names))
    if outside.any():
        raise DataError(
            f"labels must lie in [0, {len(class_names)}); "
            f"{outside.sum():,} do not, such as {labels[outside][0]}"
        )
    counts = np.bincount(labels, minlength=len(class_names))
    if (counts == 0).any():
        empty = class_names[int(counts.argmin())]
        raise DataError(f"class {empty!r} has no images")
    return Examples(images, labels.astype(np.int32))


def stratified(
    labels: np.ndarray, share: float, seed: int = SEED
) -> np.ndarray:
    """Draws a share of each class at random, at least one row of it.

    Args:
        labels: integers `(n,)`.
        share: of the rows of a class.
        seed: of the drawing.

    Returns:
        bool `(n,)`.

    Raises:
        DataError: if a class has one row only.

    Example:
        >>> int(stratified(np.repeat([0, 1], 10), 0.2).sum())
        4
    """
    rng = np.random.default_rng(seed)
    drawn = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            raise DataError(
                f"class {label} has one image only; each needs one to learn "
                "from and one to test on, and one more to stop early"
            )
        count = max(1, round(share * len(rows)))
        drawn[rng.permutation(rows)[:count]] = True
    return drawn
