"""Medians, intervals and tests for repeated timings.

Timings are skewed and have outliers, so everything here rests on medians and
ranks, and nothing assumes a normal distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.results import Estimate
from keras_multi.errors import ResultsError

_RESAMPLES = 9999
_SEED = 0
_LEAST_FOR_A_TREND = 8
_TREND_SIGNIFICANCE = 0.01
_FENCE = 1.5


@dataclass(frozen=True)
class Comparison:
    """Two sets of timings against each other.

    Attributes:
        ratio: the new over the base, with its interval.
        p_value: two-sided p-value of "no difference".
    """

    ratio: Estimate
    p_value: float


def median_interval(
    samples: Sequence[float], confidence: float = 0.95
) -> Estimate:
    """Median with its distribution-free order-statistic interval.

    The ends are two of the samples, chosen by the ranks of the binomial
    distribution with p = 1/2, so the interval covers the median with at least
    the confidence asked for, whatever the distribution. Fewer than six
    samples cannot reach 95 %: their interval is the smallest and the largest
    sample, and its confidence is `1 - 2 ** (1 - n)`, 93.75 % for five.

    Args:
        samples: positive finite numbers, at least one.
        confidence: between 0 and 1.

    Raises:
        ResultsError: if there is no sample, or one is not positive and finite.

    Source: Conover, Practical Nonparametric Statistics (3rd edition, 1999),
    section 3.2.

    Example:
        >>> from benchmarks import statistics
        >>> statistics.median_interval([3.0, 1.0, 2.0, 4.0, 6.0, 5.0, 9.0])
        Estimate(median=4.0, low=1.0, high=9.0)
    """
    values = _checked(samples)
    interval = stats.quantile_test(values, p=0.5).confidence_interval(
        confidence
    )
    reached = np.isfinite(interval.low) and np.isfinite(interval.high)
    low, high = interval if reached else (values.min(), values.max())
    return Estimate(
        median=float(np.median(values)), low=float(low), high=float(high)
    )


def ratio_interval(
    ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95
) -> Estimate:
    """Median of the paired ratios ours / theirs, with its interval.

    The two were measured in turn in one process, so a round that the machine
    slowed down slowed both, and their ratio stays what it is.

    Args:
        ours: one time per round.
        theirs: the other's time in the same rounds.
        confidence: between 0 and 1.

    Raises:
        ResultsError: if the two differ in length, or a sample is not positive
            and finite.

    Example:
        >>> from benchmarks import statistics
        >>> statistics.ratio_interval([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]).median
        2.0
    """
    return median_interval(_ratios(ours, theirs).tolist(), confidence)


def compare(
    base: Sequence[float], new: Sequence[float], confidence: float = 0.95
) -> Comparison:
    """Compares two independent sets of timings, such as those of two runs.

    The ratio is that of the medians, the test that of Mann and Whitney. The
    interval is the percentile bootstrap of the ratio of medians, with a fixed
    seed: the same samples give the same interval. The bias-corrected (BCa)
    variant would not do, since its jackknife fails for a median. With fewer
    than about ten samples the interval is somewhat too narrow, so call a
    difference only where `p_value` agrees.

    Args:
        base: times before.
        new: times after.
        confidence: between 0 and 1.

    Raises:
        ResultsError: if there is no sample, or one is not positive and finite.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993),
    section 13.3; Mann and Whitney, Annals of Mathematical Statistics 18
    (1947).

    Example:
        >>> from benchmarks import statistics
        >>> statistics.compare([1.0, 1.1, 1.2], [2.0, 2.2, 2.4]).ratio.median
        2.0
    """
    before, after = _checked(base), _checked(new)
    generator = np.random.default_rng(_SEED)

    def medians(values: np.ndarray) -> np.ndarray:
        resampled = generator.choice(values, size=(_RESAMPLES, values.size))
        return np.median(resampled, axis=1)

    tail = (1 - confidence) / 2
    ratios = medians(after) / medians(before)
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Comparison(
        ratio=Estimate(
            median=float(np.median(after) / np.median(before)),
            low=float(low),
            high=float(high),
        ),
        p_value=float(stats.mannwhitneyu(before, after).pvalue),
    )


def compare_paired(
    base: Sequence[float], new: Sequence[float], confidence: float = 0.95
) -> Comparison:
    """Compares two sets of timings that were taken in the same rounds.

    What slows a round down slows both of its samples, so each round gives one
    ratio. The ratio is the median of them with its percentile bootstrap
    interval, of a fixed seed; the test is Wilcoxon's of their logarithms,
    which are symmetric about zero where the two do not differ.

    Args:
        base: one time per round.
        new: the other's time in the same rounds.
        confidence: between 0 and 1.

    Raises:
        ResultsError: if the two differ in length, or a sample is not positive
            and finite.

    Source: Wilcoxon, Individual comparisons by ranking methods, Biometrics
    Bulletin 1 (1945); Efron and Tibshirani as in `compare`.

    Example:
        >>> from benchmarks import statistics
        >>> base, new = [1.0, 3.0, 2.0], [2.0, 6.0, 4.0]
        >>> statistics.compare_paired(base, new).ratio.median
        2.0
    """
    ratios = _ratios(new, base)
    generator = np.random.default_rng(_SEED)
    resampled = generator.choice(ratios, size=(_RESAMPLES, ratios.size))
    medians = np.median(resampled, axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    differs = np.any(ratios != 1.0)
    return Comparison(
        ratio=Estimate(
            median=float(np.median(ratios)), low=float(low), high=float(high)
        ),
        p_value=float(stats.wilcoxon(np.log(ratios)).pvalue)
        if differs
        else 1.0,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values of several tests made at once, by Holm's method.

    Rejecting where the adjusted value is below 0.05 keeps the chance of even
    one false alarm among all the tests below 5 %.

    Args:
        p_values: one per test, each between 0 and 1.

    Returns:
        The adjusted p-values, in the order given.

    Source: Holm, A simple sequentially rejective multiple test procedure,
    Scandinavian Journal of Statistics 6 (1979).

    Example:
        >>> from benchmarks import statistics
        >>> statistics.holm([0.5, 0.125])
        [0.5, 0.25]
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    scaled = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


def drift(samples: Sequence[float]) -> float:
    """Relative change of the samples over a run, zero where there is no trend.

    The line through the samples is that of Theil and Sen, the median of the
    slopes between all pairs, which outliers do not bend. It counts only if
    Kendall's rank correlation with the order of the rounds has a p-value
    below 0.01; fewer than eight samples are not judged.

    Args:
        samples: positive finite numbers in the order they were taken.

    Returns:
        Rise of the line from the first round to the last over the median of
        the samples: 0.1 for a run that became slower by a tenth.

    Raises:
        ResultsError: if there is no sample, or one is not positive and finite.

    Source: Sen, Estimates of the regression coefficient based on Kendall's
    tau, Journal of the American Statistical Association 63 (1968); Mann,
    Nonparametric tests against trend, Econometrica 13 (1945).

    Example:
        >>> from benchmarks import statistics
        >>> statistics.drift([6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0])
        0.8
    """
    values = _checked(samples)
    if values.size < _LEAST_FOR_A_TREND or np.all(values == values[0]):
        return 0.0
    rounds = np.arange(values.size)
    if stats.kendalltau(rounds, values).pvalue >= _TREND_SIGNIFICANCE:
        return 0.0
    slope = stats.theilslopes(values, rounds).slope
    return float(slope * (values.size - 1) / np.median(values))


def outliers(samples: Sequence[float]) -> int:
    """How many samples lie outside Tukey's fences.

    The fences stand 1.5 times the distance of the quartiles below the lower
    and above the upper quartile.

    Args:
        samples: positive finite numbers, at least one.

    Raises:
        ResultsError: if there is no sample, or one is not positive and finite.

    Source: Tukey, Exploratory Data Analysis (1977), section 2D.

    Example:
        >>> from benchmarks import statistics
        >>> statistics.outliers([1.0, 1.1, 1.2, 1.1, 1.0, 9.0])
        1
    """
    values = _checked(samples)
    low, high = fences(values.tolist())
    return int(np.sum((values < low) | (values > high)))


def fences(samples: Sequence[float]) -> tuple[float, float]:
    """Tukey's lower and upper fence, see `outliers`.

    Args:
        samples: positive finite numbers, at least one.
    """
    lower, upper = np.quantile(_checked(samples), [0.25, 0.75])
    reach = _FENCE * (upper - lower)
    return float(lower - reach), float(upper + reach)


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> np.ndarray:
    """Ratio of each round."""
    if len(ours) != len(theirs):
        raise ResultsError(
            "paired samples need one of each per round. "
            f"Received: {len(ours)} and {len(theirs)} samples"
        )
    return _checked(ours) / _checked(theirs)


def _checked(samples: Sequence[float]) -> np.ndarray:
    values = np.asarray(samples, dtype=float)
    if not values.size or not np.all(np.isfinite(values) & (values > 0)):
        raise ResultsError(
            "samples must be positive finite numbers, at least one. "
            f"Received: {values.tolist()}"
        )
    return values
