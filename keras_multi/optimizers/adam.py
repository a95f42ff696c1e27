"""Adam and AdamW."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_multi import backend


class _Fused:
    """The update of Adam and the decay of the weights in one pass.

    For float32 weights on PyTorch, in place of one pass for each operation;
    else as Keras does it.
    """

    beta_1: float
    beta_2: float
    epsilon: float
    amsgrad: bool
    weight_decay: float | None
    iterations: Any
    learning_rate: Any
    _momentums: list[Any]
    _velocities: list[Any]
    _velocity_hats: list[Any]
    _get_variable_index: Any
    _use_weight_decay: Any

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        if not backend.framework().fuses(variables):
            super()._apply_weight_decay(variables)  # type: ignore[misc]

    def _backend_update_step(
        self, grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any
    ) -> None:
        if not backend.framework().fuses(variables):
            super()._backend_update_step(  # type: ignore[misc]
                grads, variables, learning_rate
            )
            return
        kinds = [self._momentums, self._velocities]
        kinds += [self._velocity_hats] if self.amsgrad else []
        decays = [
            bool(self.weight_decay) and self._use_weight_decay(variable)
            for variable in variables
        ]
        for decay in set(decays):
            chosen = [i for i, own in enumerate(decays) if own == decay]
            places = [self._get_variable_index(variables[i]) for i in chosen]
            backend.framework().adam(
                [variables[i] for i in chosen],
                [grads[i] for i in chosen],
                [[kind[place] for place in places] for kind in kinds],
                step=int(self.iterations) + 1,
                learning_rate=float(learning_rate),
                betas=(self.beta_1, self.beta_2),
                epsilon=self.epsilon,
                weight_decay=float(self.weight_decay or 0) if decay else 0.0,
            )


@keras.saving.register_keras_serializable("keras_multi")
class Adam(_Fused, keras.optimizers.Adam):
    """`keras.optimizers.Adam`, in one pass over memory on PyTorch.

    Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization",
    algorithm 1, with the order of section 2 in which Keras has it. The
    arguments, the state and the results are those of Keras: a checkpoint of
    one can be loaded into the other.

    Its arguments are those of `keras.optimizers.Adam`.

    Example:
        >>> import keras
        >>> from keras_multi.optimizers import Adam
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile(Adam(1e-3), "mean_squared_error")
    """


@keras.saving.register_keras_serializable("keras_multi")
class AdamW(_Fused, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, in one pass over memory on PyTorch.

    Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization",
    algorithm 2. The arguments, the state and the results are those of Keras:
    a checkpoint of one can be loaded into the other.

    Its arguments are those of `keras.optimizers.AdamW`.

    Example:
        >>> import keras
        >>> from keras_multi.optimizers import AdamW
        >>> optimizer = AdamW(1e-3, weight_decay=0.01)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
    """
