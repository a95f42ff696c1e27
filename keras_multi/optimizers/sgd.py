"""Stochastic gradient descent."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_multi import backend


@keras.saving.register_keras_serializable("keras_multi")
class SGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD`, in one pass over memory on PyTorch.

    With momentum as in Sutskever et al. 2013, "On the importance of
    initialization and momentum in deep learning", section 2. The arguments,
    the state and the results are those of Keras: a checkpoint of one can be
    loaded into the other.

    Its arguments are those of `keras.optimizers.SGD`.

    Example:
        >>> import keras
        >>> from keras_multi.optimizers import SGD
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile(SGD(0.1, momentum=0.9), "mean_squared_error")
    """

    def _backend_update_step(
        self, grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any
    ) -> None:
        if not backend.framework().fuses(variables):
            super()._backend_update_step(grads, variables, learning_rate)
            return
        places = [self._get_variable_index(variable) for variable in variables]
        backend.framework().sgd(
            variables,
            list(grads),
            [self.momentums[place] for place in places]
            if self.momentum
            else [],
            learning_rate=float(learning_rate),
            momentum=self.momentum,
            nesterov=self.nesterov,
        )
