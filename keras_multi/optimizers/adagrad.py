"""Adagrad."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_multi import backend


@keras.saving.register_keras_serializable("keras_multi")
class Adagrad(keras.optimizers.Adagrad):
    """`keras.optimizers.Adagrad`, in fewer passes over memory on PyTorch.

    Duchi et al. 2011, "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization", figure 1, with a diagonal matrix. The arguments,
    the state and the results are those of Keras: a checkpoint of one can be
    loaded into the other.

    Its arguments are those of `keras.optimizers.Adagrad`.

    Example:
        >>> import keras
        >>> from keras_multi.optimizers import Adagrad
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile(Adagrad(0.1), "mean_squared_error")
    """

    def _backend_update_step(
        self, grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any
    ) -> None:
        if not backend.framework().fuses(variables):
            super()._backend_update_step(grads, variables, learning_rate)
            return
        places = [self._get_variable_index(variable) for variable in variables]
        backend.framework().adagrad(
            variables,
            list(grads),
            [self._accumulators[place] for place in places],
            learning_rate=float(learning_rate),
            epsilon=self.epsilon,
        )
