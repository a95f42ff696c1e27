import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax

from keras_multi.losses import (
    ListMLELoss,
    PairwiseHingeLoss,
    PairwiseLogisticLoss,
    SoftmaxRankingLoss,
)
from tests.losses.loss_case import check_loss

LABELS = np.array(
    [[2, 0, 1, -1], [1, 1, 0, 3], [0, 0, -1, -1], [-1] * 4], "float32"
)
SCORES = np.random.default_rng(0).standard_normal((4, 4)).astype("float32")


def list_mle(labels, scores):
    order = scores[np.argsort(-labels, kind="stable")]
    return sum(logsumexp(order[i:]) - order[i] for i in range(len(order)))


def softmax_ranking(labels, scores):
    return -np.sum(softmax(labels) * log_softmax(scores))


def pairwise(function):
    def loss(labels, scores):
        losses = [
            function(scores[i] - scores[j])
            for i in range(len(labels))
            for j in range(len(labels))
            if labels[i] > labels[j]
        ]
        return np.mean(losses) if losses else 0.0

    return loss


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (ListMLELoss, list_mle),
        (SoftmaxRankingLoss, softmax_ranking),
        (PairwiseHingeLoss, pairwise(lambda d: max(0.0, 1 - d))),
        (PairwiseLogisticLoss, pairwise(lambda d: np.log1p(np.exp(-d)))),
    ],
)
def test_equals_the_formula(make, formula):
    expected = [
        formula(labels[labels >= 0], scores[labels >= 0])
        if (labels >= 0).any()
        else 0.0
        for labels, scores in zip(LABELS, SCORES, strict=True)
    ]
    check_loss(make, LABELS, SCORES, np.array(expected))


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match="Received: "):
        ListMLELoss()(LABELS, SCORES[:, :3])
    with pytest.raises(ValueError, match="Received: "):
        ListMLELoss()(LABELS[0], SCORES[0])
