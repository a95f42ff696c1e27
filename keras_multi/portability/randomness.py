"""Turning off what a model draws at random, so that it can be compared."""

import contextlib
from collections.abc import Iterator

import keras

_RATES = ("rate", "dropout", "recurrent_dropout", "stddev", "_dropout")


@contextlib.contextmanager
def turned_off(model: keras.Model) -> Iterator[list[str]]:
    """Sets the rate of each dropout and noise layer to zero for a while.

    Functions that Keras compiled before or inside must be made anew: call
    `model.make_train_function(force=True)` where it was trained.

    Args:
        model: a built model.

    Yields:
        Names of the layers that still draw at random in training, such as
        augmentation layers.

    Example:
        >>> import keras
        >>> from keras_multi.portability import randomness
        >>> model = keras.Sequential([keras.layers.Dropout(0.5)])
        >>> with randomness.turned_off(model) as rest:
        ...     model.layers[0].rate, rest
        (0, [])
    """
    saved = []
    rest = []
    for layer in model._flatten_layers():
        own = vars(layer)
        ours = type(layer).__module__.startswith("keras.") or _draws(layer)
        rates = [
            name for name in _RATES if ours and isinstance(own.get(name), float)
        ]
        for name in rates:
            saved.append((layer, name, own[name]))
            setattr(layer, name, 0)
        if not rates and _draws(layer):
            rest.append(layer.name)
    try:
        yield rest
    finally:
        for layer, name, value in saved:
            setattr(layer, name, value)


def _draws(layer: keras.layers.Layer) -> bool:
    return any(
        isinstance(value, keras.random.SeedGenerator)
        for value in vars(layer).values()
    )
