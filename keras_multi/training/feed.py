"""Batches as a backend takes them fastest."""

from typing import Any

import keras

from keras_multi import backend


def feed(batches: keras.utils.PyDataset) -> Any:
    """Gives what `keras.Model.fit` is best given in place of a data set.

    On TensorFlow, Keras feeds a model by a pipeline that tunes itself, of
    which a thread sleeps ever longer: 10, 20, 40 milliseconds, and so on. An
    epoch, or a prediction, ends when it wakes: half a second's work takes
    630 milliseconds, and a second's 1270. This is a pipeline without it. On
    PyTorch it is a loader that does nothing but load. JAX takes the data set
    as it is.

    Args:
        batches: what has a length and gives batches of NumPy arrays, the same
            structure for each index, such as `Batches`. It is asked anew in
            each epoch.

    Returns:
        What `fit`, `evaluate` and `predict` of a Keras model take as data;
        pass `shuffle=False` with it.

    Example:
        >>> import keras, numpy as np
        >>> from keras_multi.training import Batches, feed
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> batches = Batches((np.ones((8, 3)), np.ones((8, 1))), 4, seed=0)
        >>> _ = model.fit(feed(batches), shuffle=False, verbose=0)
    """
    return backend.framework().feed(batches)
