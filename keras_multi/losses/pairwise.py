"""Losses of the pairs of a ranked list."""

from abc import abstractmethod
from typing import Any

import keras
from keras import ops

from keras_multi.losses.ranking import RankingLoss


class _PairwiseLoss(RankingLoss):
    """Mean over the pairs of which the first has the higher label."""

    def of_lists(self, scores: Any, labels: Any, valid: Any) -> Any:
        pairs = ops.logical_and(
            labels[:, :, None] > labels[:, None, :],
            ops.logical_and(valid[:, :, None], valid[:, None, :]),
        )
        losses = self.of_pairs(scores[:, :, None] - scores[:, None, :])
        total = ops.sum(ops.where(pairs, losses, 0.0), axis=(1, 2))
        count = ops.sum(ops.cast(pairs, total.dtype), axis=(1, 2))
        return total / ops.maximum(count, 1.0)

    @abstractmethod
    def of_pairs(self, difference: Any) -> Any:
        """Loss of a pair, of the higher one's score less the other's."""


@keras.saving.register_keras_serializable("keras_multi")
class PairwiseHingeLoss(_PairwiseLoss):
    """`max(0, 1 - (s_i - s_j))`, the mean over pairs with label i > label j.

    The ranking SVM of Herbrich et al. 2000, "Large margin rank boundaries for
    ordinal regression". A list without such a pair has loss zero. Arguments
    are those of `RankingLoss`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.losses import PairwiseHingeLoss
        >>> float(PairwiseHingeLoss()(np.array([[1, 0]]), np.zeros((1, 2))))
        1.0
    """

    title = "pairwise_hinge"

    def of_pairs(self, difference: Any) -> Any:
        return ops.relu(1.0 - difference)


@keras.saving.register_keras_serializable("keras_multi")
class PairwiseLogisticLoss(_PairwiseLoss):
    """`log(1 + exp(s_j - s_i))`, the mean over pairs with label i > label j.

    RankNet (Burges et al. 2005, "Learning to rank using gradient descent",
    section 3). A list without such a pair has loss zero. Arguments are those
    of `RankingLoss`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.losses import PairwiseLogisticLoss
        >>> loss = PairwiseLogisticLoss()(np.array([[1, 0]]), np.zeros((1, 2)))
        >>> round(float(loss), 4)
        0.6931
    """

    title = "pairwise_logistic"

    def of_pairs(self, difference: Any) -> Any:
        return ops.softplus(-difference)
