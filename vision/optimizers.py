"""Optimizers with a rate of its own for each layer.

Fine-tuning moves the first layers, which see edges and colours, less than the
last: discriminative rates (Howard and Ruder 2018, "Universal language model
fine-tuning for text classification", section 3.2).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_multi import optimizers


class _LayerRates:
    """Scales the step of some variables, whatever an optimizer makes it of.

    The step of each optimizer here is proportional to the learning rate, and
    so is the decay of the weights. To scale what a variable has moved by is
    therefore to scale its learning rate.
    """

    _trainable_variables: list[Any]

    def __init__(
        self,
        *args: Any,
        layer_rates: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.layer_rates = dict(layer_rates or {})
        for path, rate in self.layer_rates.items():
            if not rate > 0:
                raise ValueError(
                    "`layer_rates` must be positive. "
                    f"Received: layer_rates[{path!r}]={rate}"
                )
        if kwargs.get("use_ema") and self.layer_rates:
            raise ValueError(
                "`use_ema` would average the steps before they are scaled; "
                "leave it or `layer_rates` out. Received: use_ema=True"
            )

    def build(self, variables: Sequence[Any]) -> None:
        paths = {variable.path for variable in variables}
        if unknown := set(self.layer_rates) - paths:
            raise ValueError(
                "`layer_rates` must name trainable variables of the model. "
                f"Received: {sorted(unknown)[:5]}"
            )
        super().build(variables)  # type: ignore[misc]

    def apply(
        self, grads: Sequence[Any], trainable_variables: Any = None
    ) -> None:
        scaled = [
            (variable, self.layer_rates[variable.path], ops.copy(variable))
            for variable in trainable_variables or self._trainable_variables
            if variable.path in self.layer_rates
        ]
        super().apply(grads, trainable_variables)  # type: ignore[misc]
        for variable, rate, before in scaled:
            variable.assign(before + rate * (variable - before))

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, "layer_rates": dict(self.layer_rates)}


@keras.saving.register_keras_serializable("vision")
class SGD(_LayerRates, optimizers.SGD):
    """`keras_multi.optimizers.SGD` with a rate of its own for each variable.

    Args:
        *args: arguments of `keras_multi.optimizers.SGD`.
        layer_rates: path of a variable to the factor of its learning rate;
            1 for all others. `vision.Classifier.layer_rates` makes it.
        **kwargs: arguments of `keras_multi.optimizers.SGD`.

    Raises:
        ValueError: if a factor is not positive, a path is that of no
            trainable variable, or `use_ema` is set as well.

    Example:
        >>> from vision import Classifier, optimizers
        >>> from vision.backbones import ResNet
        >>> model = Classifier(ResNet((1,), (4,)), num_classes=2)
        >>> optimizer = optimizers.SGD(
        ...     0.1, momentum=0.9, layer_rates=model.layer_rates(first=0.01)
        ... )
        >>> model.compile(optimizer)
    """


@keras.saving.register_keras_serializable("vision")
class AdamW(_LayerRates, optimizers.AdamW):
    """`keras_multi.optimizers.AdamW` with a rate of its own for each variable.

    The decay of a weight goes with its rate.

    Args:
        *args: arguments of `keras_multi.optimizers.AdamW`.
        layer_rates: path of a variable to the factor of its learning rate;
            1 for all others. `vision.Classifier.layer_rates` makes it.
        **kwargs: arguments of `keras_multi.optimizers.AdamW`.

    Raises:
        ValueError: if a factor is not positive, a path is that of no
            trainable variable, or `use_ema` is set as well.

    Example:
        >>> from vision import Classifier, optimizers
        >>> from vision.backbones import ResNet
        >>> model = Classifier(ResNet((1,), (4,)), num_classes=2)
        >>> model.compile(
        ...     optimizers.AdamW(1e-3, layer_rates=model.layer_rates())
        ... )
    """
