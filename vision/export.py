"""Writes a classifier for other runtimes."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_multi import backend
from keras_multi.errors import KerasMultiError
from keras_multi.export import check_format, export_layer
from vision.classifier import Classifier
from vision.presets import EFFICIENTNET_LITE0

# Rounding adds up over some fifty layers.
TOLERANCE = 1e-4


def export(
    output: str | Path,
    preset: str = EFFICIENTNET_LITE0,
    format: str = "onnx",
) -> dict[str, Any]:
    """Writes a classifier, from images to logits.

    It takes any number of images, of the size that the classifier was made
    for and with values from 0 to 255, as `images`. The other runtime reads
    the file and its logits are compared with those of Keras.

    Args:
        output: file (ONNX `.onnx`, LiteRT `.tflite`, OpenVINO `.xml`, with its
            weights beside it as `.bin`) or folder (SavedModel) to write.
        preset: as in `Classifier.from_preset`.
        format: `"onnx"`, `"saved_model"`, `"litert"` or `"openvino"`.

    Returns:
        `backend`, `format`, `preset`, `path`, `inputs` and
        `largest_difference` of a logit.

    Raises:
        UsageError: if the format is unknown, this backend cannot write it,
            a package is missing, or the suffix is that of another format.
        DataError: if the preset cannot be fetched.
        KerasMultiError: if the file cannot be written, or gives other numbers
            than Keras.
    """
    check_format(format)
    path = Path(output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KerasMultiError(
            f"cannot make the folder {path.parent}: {error.strerror}"
        ) from error
    model = Classifier.from_preset(preset)
    shape = (2, model.image_size, model.image_size, model.input_shape[-1])
    images = np.random.default_rng(0).uniform(0, 255, shape)
    written = export_layer(
        lambda inputs, training: model(inputs["images"], training=training),
        {"images": images.astype("float32")},
        path,
        format,
        TOLERANCE,
    )
    return {
        "backend": backend.name(),
        "format": format,
        "preset": preset,
        **written,
    }
