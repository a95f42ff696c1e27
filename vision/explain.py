"""Shows what in an image speaks for a class: Grad-CAM."""

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from PIL import Image

from keras_multi import backend
from keras_multi.errors import KerasMultiError, UsageError
from vision.classifier import Classifier
from vision.images import Source, middle, prepare, read_image
from vision.presets import EFFICIENTNET_LITE0

COLOURS = "turbo"
OPACITY = 0.5


def grad_cam(
    model: Classifier, images: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """Maps how much each place of the feature map speaks for a class.

    Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks
    via gradient-based localization", equations 1 and 2, at the output of the
    backbone. A dense layer follows its average, so the gradient that
    equation 1 averages is the column of the class, over the number of places.

    Args:
        model: the classifier.
        images: `(batch, height, width, channels)` with values from 0 to 255.
        classes: the class to explain of each image, integers `(batch,)`.

    Returns:
        Float32 `(batch, h, w)`, not negative.

    Raises:
        ValueError: if a class is out of range.

    Example:
        >>> from vision.backbones import ResNet
        >>> model = Classifier(ResNet((1,), (4,)), num_classes=2)
        >>> grad_cam(model, np.zeros((1, 8, 8, 3)), np.array([1])).shape
        (1, 8, 8)
    """
    classes = np.asarray(classes)
    if classes.min() < 0 or classes.max() >= model.num_classes:
        raise ValueError(
            f"`classes` must lie in [0, {model.num_classes}). "
            f"Received: classes={classes.tolist()}"
        )
    features = model.backbone.predict_on_batch(images)
    return _map(model, np.asarray(features, "float32"), classes)


def _map(
    model: Classifier, features: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    kernel = ops.convert_to_numpy(model.head.kernel)  # (F, classes)
    places = features.shape[1] * features.shape[2]
    weights = kernel[:, classes] / places  # (F, B)
    return np.maximum(np.einsum("bhwf,fb->bhw", features, weights), 0)


def explain(
    image: Source,
    output: str | Path,
    preset: str = EFFICIENTNET_LITE0,
    class_name: str | None = None,
) -> dict[str, Any]:
    """Lays the map of a class over an image and writes it as PNG.

    Args:
        image: file or address.
        output: file to write: what the network saw, with colours from blue
            (nothing) to red (most).
        preset: as in `Classifier.from_preset`.
        class_name: name or number of the class to explain; by default the
            most probable one.

    Returns:
        `backend`, `image`, `class`, `index` (of the class), `probability`
        and `output`.

    Raises:
        UsageError: if the preset or the class is unknown.
        DataError: if the image cannot be read or the preset not fetched.
        KerasMultiError: if the file cannot be written.
    """
    picture = read_image(image)
    model = Classifier.from_preset(preset)
    size, channels = model.image_size, model.input_shape[-1]
    pixels = prepare(picture, size, channels)[None].astype("float32")
    features = np.asarray(model.backbone.predict_on_batch(pixels), "float32")
    logits = model.head(ops.mean(features, axis=(1, 2)))
    probabilities = ops.convert_to_numpy(ops.softmax(logits))[0]
    index = _index(model, class_name, int(probabilities.argmax()))
    heat = _map(model, features, np.array([index]))[0]
    left, top, right, bottom = map(round, middle(picture))
    seen = picture.crop((left, top, right, bottom))
    try:
        overlay(seen, heat).save(output, format="PNG")
    except OSError as error:
        raise KerasMultiError(
            f"cannot write {output}: {error.strerror or error}"
        ) from error
    return {
        "backend": backend.name(),
        "image": str(image),
        "class": model.class_names[index] if model.class_names else str(index),
        "index": index,
        "probability": float(probabilities[index]),
        "output": str(output),
    }


def overlay(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """Lays a map over an image.

    Args:
        image: in mode `"RGB"`.
        heat: `(h, w)`, not negative. The largest value becomes red; if all
            are 0, all is blue.

    Returns:
        An image of the same size.
    """
    from matplotlib import colormaps

    share = heat / (heat.max() or 1.0)
    smooth = np.asarray(
        Image.fromarray(share.astype("float32")).resize(
            image.size, Image.Resampling.BICUBIC
        )
    )
    colours = colormaps[COLOURS](smooth.clip(0, 1), bytes=True)[..., :3]
    return Image.blend(image, Image.fromarray(colours), OPACITY)


def _index(model: Classifier, name: str | None, best: int) -> int:
    if name is None:
        return best
    if model.class_names and name in model.class_names:
        return model.class_names.index(name)
    if name.isdecimal() and int(name) < model.num_classes:
        return int(name)
    raise UsageError(
        f"the classifier has no class {name!r}; give a name that it knows or "
        f"a number below {model.num_classes}"
    )
