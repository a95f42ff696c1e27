"""CIFAR-10: 60,000 color photographs of ten kinds of things.

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

import numpy as np

from keras_multi.errors import DataError
from vision.resize import resize_all

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

Part = tuple[np.ndarray, np.ndarray]


def load(size: int) -> tuple[Part, Part]:
    """Loads the training and the test part through `keras.datasets`.

    Args:
        size: height and width of the images.

    Returns:
        For each part images, uint8 `(n, size, size, 3)`, and labels `(n,)`.

    Raises:
        DataError: if the data are not cached and cannot be fetched.
    """
    import keras

    try:
        train, test = keras.datasets.cifar10.load_data()
    except Exception as error:  # Keras raises nothing more special.
        raise DataError(
            f"cannot fetch cifar10: {error}; connect to the network, or put "
            "its archive where Keras looks for it (~/.keras/datasets)"
        ) from error
    return (
        (resize_all(train[0], size), train[1][:, 0]),
        (resize_all(test[0], size), test[1][:, 0]),
    )
