"""What the augmentation layers share: what they take, check and draw."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_multi import backend
from keras_multi.layers.augmentation import boxes
from keras_multi.layers.augmentation.checks import check_share

KEYS = ("images", "labels", "bounding_boxes", "segmentation_masks")
DATA_FORMATS = ("channels_last", "channels_first")

Batch = dict[str, Any]
Draws = Any

uniform: Callable[..., Any] = backend.framework().uniform


class BatchLayer(keras.layers.Layer):
    """A layer on a batch of images, or on a dictionary that has one.

    Args:
        data_format: `"channels_last"` or `"channels_first"`, Keras's own
            setting by default.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: images `(batch, height, width, channels)`, uint8 or float, or
            a dictionary of `"images"` and any of

            - `"labels"`: classes `(batch,)`, or `(batch, classes)`;
            - `"bounding_boxes"`: a dictionary of `"boxes"`, `(batch, n, 4)`
              as x1, y1, x2, y2 in pixels, and `"labels"`, `(batch, n)`, -1
              where there is no box;
            - `"segmentation_masks"`: classes `(batch, height, width)` or
              `(batch, height, width, 1)`.

            With `"channels_first"` the channels are the second axis of
            images and masks.

    Returns:
        The same structure. Images keep their dtype.

    Raises:
        ValueError: if `data_format` is unknown, a key is unknown, shapes do
            not fit together, or images are neither uint8 nor float.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        # Half precision would round boxes, and bytes are to stay bytes.
        super().__init__(autocast=False, **kwargs)
        self.data_format = data_format or keras.config.image_data_format()
        if self.data_format not in DATA_FORMATS:
            raise ValueError(
                f"`data_format` must be one of {DATA_FORMATS}. "
                f"Received: data_format={data_format!r}"
            )

    @abstractmethod
    def apply(self, batch: Batch, training: bool) -> Batch:
        """Changes a batch in standard form.

        That is a dictionary with channels last, masks `(batch, height,
        width)`, float32 boxes and int32 labels of boxes.
        """

    def call(self, inputs: Any, training: bool = True) -> Any:
        named = isinstance(inputs, dict)
        batch = self.standard(inputs if named else {"images": inputs})
        batch = self._as_given(self.apply(batch, training), inputs)
        return batch if named else batch["images"]

    def compute_output_spec(self, inputs: Any, training: bool = True) -> Any:
        """Tells shapes and dtypes from those that a batch of two has.

        With a batch of unknown size JAX traces RandAugment for minutes.
        """

        def sized(x: Any, size: int | None) -> Any:
            return keras.KerasTensor((size, *x.shape[1:]), x.dtype)

        size = keras.tree.flatten(inputs)[0].shape[0]
        two = keras.tree.map_structure(lambda x: sized(x, 2), inputs)
        outputs = super().compute_output_spec(two, training=training)
        return keras.tree.map_structure(lambda x: sized(x, size), outputs)

    def standard(self, inputs: Batch) -> Batch:
        """Checks a batch and gives it in standard form."""
        _check_batch(inputs)
        batch = dict(inputs)
        first = self.data_format == "channels_first"
        if first:
            batch["images"] = ops.transpose(batch["images"], (0, 2, 3, 1))
        if any(size is None for size in batch["images"].shape[1:]):
            raise ValueError(
                "Height, width and channels must be known when the layer is "
                f"traced. Received: shape={tuple(batch['images'].shape)}"
            )
        if "segmentation_masks" in batch:
            masks = batch["segmentation_masks"]
            if len(masks.shape) == 4:
                masks = ops.squeeze(masks, axis=1 if first else 3)
            if masks.shape[1:] != batch["images"].shape[1:3]:
                raise ValueError(
                    "Masks must be as large as the images. Received: "
                    f"shapes={tuple(masks.shape)} and "
                    f"{tuple(batch['images'].shape)}"
                )
            batch["segmentation_masks"] = masks
        if "bounding_boxes" in batch:
            batch["bounding_boxes"] = boxes.standard(batch["bounding_boxes"])
        return batch

    def _as_given(self, batch: Batch, inputs: Any) -> Batch:
        batch = dict(batch)
        first = self.data_format == "channels_first"
        if first:
            batch["images"] = ops.transpose(batch["images"], (0, 3, 1, 2))
        masks = batch.get("segmentation_masks")
        if masks is not None and len(inputs["segmentation_masks"].shape) == 4:
            axis = 1 if first else 3
            batch["segmentation_masks"] = ops.expand_dims(masks, axis=axis)
        return batch

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


class Augmentation(BatchLayer):
    """A layer that changes images at random, each image in its own way.

    It works in training, and gives its inputs as they are otherwise. The
    random numbers are drawn first (`draw`), and what is done with them
    (`transform`) is a pure function, which every compiler can trace as a
    whole.

    Args:
        seed: integer that the random numbers come from; `None` takes a new
            one each time.
        min_visibility: share of its area that a box must keep within the
            image in order not to be dropped, in [0, 1].
        data_format: `"channels_last"` or `"channels_first"`, Keras's own
            setting by default.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: as for `BatchLayer`. A dropped box has label -1 and zeros.
        training: whether anything is done.

    Returns:
        The same structure.

    Raises:
        ValueError: if `min_visibility` is out of range, and as `BatchLayer`.
    """

    def __init__(
        self,
        seed: int | None = None,
        min_visibility: float = 0.1,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        check_share("min_visibility", min_visibility)
        self.min_visibility = min_visibility
        self.reseed(seed)

    def reseed(self, seed: int | None) -> None:
        """Starts the random numbers anew from a seed."""
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    @abstractmethod
    def draw(self, batch_size: Any) -> Draws:
        """Draws the random numbers for a batch.

        Args:
            batch_size: integer, or a scalar tensor where it is not known
                while a graph is traced.

        Returns:
            A nested structure of tensors.
        """

    @abstractmethod
    def transform(self, batch: Batch, draws: Draws) -> Batch:
        """Changes a batch in standard form by the random numbers."""

    def uniform(self, *shape: Any) -> Any:
        """Draws from [0, 1)."""
        return uniform(shape, self.generator)

    def apply(self, batch: Batch, training: bool) -> Batch:
        if not training:
            return self.rest(batch)
        return self.transform(batch, self.draw(ops.shape(batch["images"])[0]))

    def rest(self, batch: Batch) -> Batch:
        """What happens outside of training: nothing."""
        return batch

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "seed": self.seed,
            "min_visibility": self.min_visibility,
        }


def _check_batch(inputs: Batch) -> None:
    if "images" not in inputs or set(inputs) - set(KEYS):
        raise ValueError(
            f"Inputs must have 'images' and may have {KEYS[1:]}. "
            f"Received: keys={list(inputs)}"
        )
    images = inputs["images"]
    if len(images.shape) != 4:
        raise ValueError(
            "Images must be a batch, (batch, height, width, channels). "
            f"Received: shape={tuple(images.shape)}"
        )
    dtype = keras.backend.standardize_dtype(images.dtype)
    if dtype != "uint8" and "float" not in dtype:
        raise ValueError(
            f"Images must be uint8 or float. Received: dtype={dtype}"
        )
    ranks = {"labels": (1, 2), "segmentation_masks": (3, 4)}
    for key, allowed in ranks.items():
        if key in inputs and len(inputs[key].shape) not in allowed:
            raise ValueError(
                f"{key!r} must have {allowed[0]} or {allowed[1]} axes. "
                f"Received: shape={tuple(inputs[key].shape)}"
            )
    if "bounding_boxes" in inputs:
        boxes.check(inputs["bounding_boxes"])
    sizes = {x.shape[0] for x in keras.tree.flatten(inputs)} - {None}
    if len(sizes) > 1:
        raise ValueError(
            "All inputs must have the same batch size. "
            f"Received: batch sizes={sorted(sizes)}"
        )


def per_image(values: Any) -> Any:
    """Shapes `(batch,)` to `(batch, 1, 1, 1)`."""
    return ops.reshape(values, (-1, 1, 1, 1))


def cast_image(x: Any, dtype: Any) -> Any:
    """Casts float values to the dtype of an image; bytes are rounded."""
    dtype = keras.backend.standardize_dtype(dtype)
    if dtype == "uint8":
        x = ops.floor(ops.clip(x, 0.0, 255.0) + 0.5)
    return ops.cast(x, dtype)
