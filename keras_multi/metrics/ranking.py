"""Means over ranked lists."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_multi.losses.masking import lists
from keras_multi.metrics import functions


class _RankingMetric(keras.metrics.Mean):
    """Mean of a measure over the lists that hold a relevant item.

    Equal scores rank in the order of the list. Padding is a label below zero
    or a false `"mask"`, if `y_true` is a dictionary with `"labels"`.

    Args:
        k: how many places count; all by default.
        **kwargs: arguments of `keras.metrics.Metric`.

    Raises:
        ValueError: if `k` is below 1.
    """

    function: Callable[[Any, int], Any]
    title = ""

    def __init__(
        self, k: int | None = None, name: str | None = None, **kwargs: Any
    ) -> None:
        if k is not None and k < 1:
            raise ValueError(f"`k` must be None or at least 1. Received: k={k}")
        suffix = "" if k is None else f"_at_{k}"
        super().__init__(name=name or self.title + suffix, **kwargs)
        self.k = k

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Adds lists.

        Args:
            y_true: labels `(batch, list)`, or a dictionary.
            y_pred: scores `(batch, list)`.
            sample_weight: float tensor `(batch,)`.
        """
        scores, labels, valid = lists(y_true, y_pred)
        ranked = functions.by_score(scores, labels, valid)
        values = self.measure(ranked, self.k or ranked.shape[1])
        weight = ops.max(functions.relevant(ranked), axis=1)
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, weight.dtype)
        super().update_state(values, sample_weight=weight)

    def measure(self, ranked: Any, k: int) -> Any:
        """Measures lists of labels in the order of their scores."""
        return type(self).function(ranked, k)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {"name": self.name, "dtype": self.dtype, "k": self.k}


@keras.saving.register_keras_serializable("keras_multi")
class RecallAtK(_RankingMetric):
    """Share of the relevant items that is among the first `k`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.metrics import RecallAtK
        >>> float(RecallAtK(1)(np.array([[1, 1, 0]]), np.array([[3, 2, 1.0]])))
        0.5
    """

    function = staticmethod(functions.recall)
    title = "recall"


@keras.saving.register_keras_serializable("keras_multi")
class HitRate(_RankingMetric):
    """Share of lists with a relevant item among the first `k`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.metrics import HitRate
        >>> float(HitRate(1)(np.array([[1, 1, 0]]), np.array([[3, 2, 1.0]])))
        1.0
    """

    function = staticmethod(functions.hit_rate)
    title = "hit_rate"


@keras.saving.register_keras_serializable("keras_multi")
class MeanReciprocalRank(_RankingMetric):
    """Mean of one over the place of the first relevant item.

    Example:
        >>> import numpy as np
        >>> from keras_multi.metrics import MeanReciprocalRank
        >>> metric = MeanReciprocalRank()
        >>> float(metric(np.array([[0, 1, 0]]), np.array([[3, 2, 1.0]])))
        0.5
    """

    function = staticmethod(functions.reciprocal_rank)
    title = "mrr"


@keras.saving.register_keras_serializable("keras_multi")
class MeanAveragePrecision(_RankingMetric):
    """Mean precision at the relevant items; the best order has 1.

    Example:
        >>> import numpy as np
        >>> from keras_multi.metrics import MeanAveragePrecision
        >>> metric = MeanAveragePrecision()
        >>> float(metric(np.array([[0, 1, 0]]), np.array([[3, 2, 1.0]])))
        0.5
    """

    function = staticmethod(functions.average_precision)
    title = "map"


@keras.saving.register_keras_serializable("keras_multi")
class NDCG(_RankingMetric):
    """Normalised discounted cumulative gain.

    Args:
        k: how many places count; all by default.
        gain: `"exponential"` for gains `2^label - 1`, as TensorFlow Ranking
            and LightGBM, or `"linear"` for the labels themselves, as
            scikit-learn.
        **kwargs: arguments of `keras.metrics.Metric`.

    Raises:
        ValueError: if `k` is below 1 or the gain is unknown.

    Example:
        >>> import numpy as np
        >>> from keras_multi.metrics import NDCG
        >>> float(NDCG(5)(np.array([[2, 1, 0]]), np.array([[3, 2, 1.0]])))
        1.0
    """

    title = "ndcg"

    def __init__(
        self, k: int | None = None, gain: str = "exponential", **kwargs: Any
    ) -> None:
        if gain not in ("exponential", "linear"):
            raise ValueError(
                '`gain` must be "exponential" or "linear". '
                f"Received: gain={gain!r}"
            )
        super().__init__(k, **kwargs)
        self.gain = gain

    def measure(self, ranked: Any, k: int) -> Any:
        """Measures lists of labels in the order of their scores."""
        return functions.ndcg(ranked, k, self.gain)

    def get_config(self) -> dict[str, Any]:
        """Gives the arguments of the constructor."""
        return {**super().get_config(), "gain": self.gain}
