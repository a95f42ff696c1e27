"""Shared metrics, one idea a file, each on every Keras backend."""

from keras_multi import backend

backend.require()

from keras_multi.metrics.coverage import Coverage  # noqa: E402
from keras_multi.metrics.factorized import (  # noqa: E402
    FactorizedTopK,
    candidate_ranks,
)
from keras_multi.metrics.ranking import (  # noqa: E402
    NDCG,
    HitRate,
    MeanAveragePrecision,
    MeanReciprocalRank,
    RecallAtK,
)

__all__ = [
    "NDCG",
    "Coverage",
    "FactorizedTopK",
    "HitRate",
    "MeanAveragePrecision",
    "MeanReciprocalRank",
    "RecallAtK",
    "candidate_ranks",
]
