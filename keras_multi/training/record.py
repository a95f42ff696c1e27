"""Training steps without the time that Keras takes to call its layers."""

import keras

from keras_multi import backend
from keras_multi.errors import UsageError


def record_steps(model: keras.Model) -> None:
    """Lets `fit` repeat the operations of a model's training steps.

    On PyTorch a step calls each layer in Python, which takes longer than the
    work where that is small. After this, the second step with some shapes is
    recorded, forwards and backwards; the third is taken in both ways, and if
    gradients and metrics are the same, further ones repeat what was recorded.
    Convolutions, max pooling and batch normalization of Keras are computed in
    PyTorch's own kernels meanwhile, without the copies that Keras makes.
    Optimizer and callbacks are called as before, and `fit`, `train_on_batch`,
    checkpoints and another `compile` work as they did. JAX and TensorFlow
    compile the step anyway: there this does nothing, nor with
    `jit_compile=True` or `run_eagerly=True`.

    The step must be one that those could compile too: what it does may depend
    on shapes and, through operations, on the values of variables, but not on
    what changes in Python between steps. A step that reads a value as a
    number is not recorded.

    Args:
        model: a compiled model; its own `train_step` may be any.

    Raises:
        UsageError: if the model is not compiled.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_multi.training import record_steps
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mean_squared_error")
        >>> record_steps(model)
        >>> _ = model.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)
    """
    if not model.compiled:
        raise UsageError("the model is not compiled; call model.compile first")
    backend.framework().record_steps(model)
