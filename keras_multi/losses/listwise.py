"""Losses of a whole ranked list."""

from typing import Any

import keras
from keras import ops

from keras_multi.losses.masking import masked_logsumexp
from keras_multi.losses.ranking import RankingLoss


@keras.saving.register_keras_serializable("keras_multi")
class ListMLELoss(RankingLoss):
    """Negative log likelihood of the order that the labels give.

    Items are drawn one after the other without replacement, each by softmax
    of the scores that are left (Xia et al. 2008, "Listwise approach to
    learning to rank", section 4.2.3). Equal labels are taken in the order of
    the list. Arguments are those of `RankingLoss`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.losses import ListMLELoss
        >>> loss = ListMLELoss()(np.array([[2, 0, -1]]), np.zeros((1, 3)))
        >>> round(float(loss), 4)  # two items: log 2
        0.6931
    """

    title = "list_mle"

    def of_lists(self, scores: Any, labels: Any, valid: Any) -> Any:
        places = ops.arange(scores.shape[1])
        later = ops.greater_equal(places[None, :], places[:, None])[None]
        first, second = labels[:, :, None], labels[:, None, :]
        left = ops.logical_or(
            second < first, ops.logical_and(ops.equal(second, first), later)
        )
        left = ops.logical_and(left, valid[:, None, :])
        rows = ops.broadcast_to(scores[:, None, :], ops.shape(left))
        terms = masked_logsumexp(rows, left) - scores
        return ops.sum(ops.where(valid, terms, 0.0), axis=1)


@keras.saving.register_keras_serializable("keras_multi")
class SoftmaxRankingLoss(RankingLoss):
    """Cross entropy between the softmax of the labels and of the scores.

    This is ListNet with top-one probabilities (Cao et al. 2007, "Learning to
    rank: from pairwise approach to listwise approach", section 4). Arguments
    are those of `RankingLoss`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.losses import SoftmaxRankingLoss
        >>> loss = SoftmaxRankingLoss()(np.array([[2, 0]]), np.zeros((1, 2)))
        >>> round(float(loss), 4)
        0.6931
    """

    title = "softmax_ranking"

    def of_lists(self, scores: Any, labels: Any, valid: Any) -> Any:
        log_target = labels - masked_logsumexp(labels, valid)[:, None]
        target = ops.exp(ops.where(valid, log_target, 0.0))
        log_share = scores - masked_logsumexp(scores, valid)[:, None]
        return -ops.sum(ops.where(valid, target * log_share, 0.0), axis=1)
