"""What all losses of ranked lists have in common."""

from abc import abstractmethod
from typing import Any, ClassVar

import keras

from keras_multi.losses.masking import lists


class RankingLoss(keras.losses.Loss):
    """A loss that gives one number for each ranked list.

    Args:
        name: name of the loss; by default that of its class.
        **kwargs: arguments of `keras.losses.Loss`.

    Call arguments:
        y_true: labels `(batch, list)`, or a dictionary of `"labels"` and
            `"mask"` (false for padding). A label below zero marks padding
            too; it adds nothing, neither to the loss nor to the gradient.
        y_pred: scores `(batch, list)`.

    Returns:
        Float tensor `(batch,)`, before the reduction.

    Raises:
        ValueError: if labels and scores differ in shape.
    """

    title: ClassVar[str]

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name or self.title, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.of_lists(*lists(y_true, y_pred))

    @abstractmethod
    def of_lists(self, scores: Any, labels: Any, valid: Any) -> Any:
        """Gives the loss of each list, `(batch,)`.

        Args:
            scores: float tensor `(batch, list)`, zero at padding.
            labels: float tensor of the same shape, zero at padding.
            valid: bool tensor of the same shape, false at padding.
        """
