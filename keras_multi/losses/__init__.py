"""Shared losses, one idea a file, each on every Keras backend."""

from keras_multi import backend

backend.require()

from keras_multi.losses.in_batch_softmax import (  # noqa: E402
    SampledSoftmax,
    in_batch_softmax,
)
from keras_multi.losses.listwise import (  # noqa: E402
    ListMLELoss,
    SoftmaxRankingLoss,
)
from keras_multi.losses.pairwise import (  # noqa: E402
    PairwiseHingeLoss,
    PairwiseLogisticLoss,
)
from keras_multi.losses.ranking import RankingLoss  # noqa: E402

__all__ = [
    "ListMLELoss",
    "PairwiseHingeLoss",
    "PairwiseLogisticLoss",
    "RankingLoss",
    "SampledSoftmax",
    "SoftmaxRankingLoss",
    "in_batch_softmax",
]
