import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import statistics
from keras_multi.errors import ResultsError


def ranks(n: int, confidence: float) -> tuple[int, float]:
    """Rank of the low end from the bottom, and its exact confidence."""
    best = (1, 1 - 2 * 0.5**n)
    for k in range(1, n // 2 + 1):
        tail = sum(math.comb(n, i) for i in range(k)) / 2**n
        if 1 - 2 * tail >= confidence:
            best = (k, 1 - 2 * tail)
    return best


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 15, 25, 30, 100])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_median_interval_ends_are_binomial_ranks(n, confidence):
    samples = np.random.default_rng(n).permutation(np.arange(1, n + 1))
    rank, _ = ranks(n, confidence)
    got = statistics.median_interval(samples.astype(float), confidence)
    assert got.median == (n + 1) / 2
    assert (got.low, got.high) == (rank, n + 1 - rank)


def test_median_interval_matches_published_ranks():
    # Standard tables: the 95 % interval of ten samples is the second and the
    # ninth of them.
    got = statistics.median_interval([float(i) for i in range(1, 11)])
    assert (got.low, got.high) == (2.0, 9.0)


@pytest.mark.parametrize("n", [7, 15, 30])
def test_median_interval_covers_the_median_of_skewed_samples(n):
    trials = 1000
    samples = np.random.default_rng(1).lognormal(sigma=1, size=(trials, n))
    intervals = [statistics.median_interval(row) for row in samples]
    covered = np.mean([i.low <= 1.0 <= i.high for i in intervals])
    _, expected = ranks(n, 0.95)
    assert 0.95 <= expected < 0.99
    deviation = math.sqrt(expected * (1 - expected) / trials)
    assert abs(covered - expected) < 4 * deviation


def test_ratio_interval_cancels_what_slows_both():
    theirs = np.random.default_rng(2).lognormal(sigma=1, size=20)
    got = statistics.ratio_interval(1.5 * theirs, theirs)
    assert (got.median, got.low, got.high) == pytest.approx((1.5, 1.5, 1.5))


def test_ratio_interval_needs_pairs():
    with pytest.raises(ResultsError, match="Received: 2 and 1 samples"):
        statistics.ratio_interval([1.0, 2.0], [1.0])


@pytest.mark.parametrize("bad", [[], [1.0, 0.0], [-1.0], [math.nan, 1.0]])
def test_bad_samples_are_refused(bad):
    with pytest.raises(ResultsError, match="positive finite"):
        statistics.median_interval(bad)
    with pytest.raises(ResultsError, match="positive finite"):
        statistics.compare([1.0], bad)


def test_compare_interval_agrees_with_scipy_bootstrap():
    generator = np.random.default_rng(3)
    base, new = generator.lognormal(size=(2, 40))
    got = statistics.compare(base, new)

    def ratio(x, y, axis):
        return np.median(y, axis=axis) / np.median(x, axis=axis)

    want = scipy.stats.bootstrap(
        (base, new),
        ratio,
        method="percentile",
        n_resamples=9999,
        rng=np.random.default_rng(4),
    ).confidence_interval
    assert got.ratio.median == np.median(new) / np.median(base)
    assert got.ratio.low == pytest.approx(want.low, rel=0.03)
    assert got.ratio.high == pytest.approx(want.high, rel=0.03)


def test_compare_interval_covers_the_true_ratio():
    generator = np.random.default_rng(5)
    trials, covered = 200, 0
    for _ in range(trials):
        base, new = generator.lognormal(sigma=0.3, size=(2, 20))
        ratio = statistics.compare(base, 1.2 * new).ratio
        covered += ratio.low <= 1.2 <= ratio.high
    assert 0.91 <= covered / trials <= 0.99


def test_compare_is_deterministic():
    base, new = np.random.default_rng(6).lognormal(size=(2, 9))
    assert statistics.compare(base, new) == statistics.compare(base, new)


@pytest.mark.parametrize(("n", "m"), [(3, 4), (7, 7)])
def test_compare_p_value_of_separated_samples_is_exact(n, m):
    base = [1.0 + i / 100 for i in range(n)]
    new = [2.0 + i / 100 for i in range(m)]
    got = statistics.compare(base, new).p_value
    assert got == pytest.approx(2 / math.comb(n + m, n))


def test_paired_comparison_agrees_with_scipy_bootstrap():
    generator = np.random.default_rng(8)
    base = generator.lognormal(sigma=1, size=30)
    new = 1.3 * base * generator.lognormal(sigma=0.1, size=30)
    got = statistics.compare_paired(base, new)
    want = scipy.stats.bootstrap(
        (new / base,),
        np.median,
        method="percentile",
        n_resamples=9999,
        rng=np.random.default_rng(9),
    ).confidence_interval
    assert got.ratio.median == np.median(new / base)
    assert got.ratio.low == pytest.approx(want.low, rel=0.01)
    assert got.ratio.high == pytest.approx(want.high, rel=0.01)


def test_paired_p_value_counts_the_signs_of_all_ranks():
    # Of the 2 ** 5 signs of the ranks 1 to 5, those with a sum of the
    # negative ranks of at most 2 are none, {1} and {2}.
    new = [1.2, 0.9, 1.3, 1.4, 1.5]
    got = statistics.compare_paired([1.0] * 5, new).p_value
    assert got == pytest.approx(2 * 2 / 2**5)
    assert statistics.compare_paired(new, new).p_value == 1.0


def test_paired_comparison_calls_few_equal_pairs_different():
    generator = np.random.default_rng(10)
    machine = generator.lognormal(sigma=1, size=(200, 15))
    noise = generator.lognormal(sigma=0.1, size=(2, 200, 15))
    false = sum(
        statistics.compare_paired(one, other).p_value < 0.05
        for one, other in zip(*(machine * noise), strict=True)
    )
    assert 0.01 < false / 200 < 0.09


def test_holm_worked_example():
    # Four hypotheses at 5 %: the step-down procedure rejects 0.005 and 0.01
    # and stops at 0.03 > 0.05 / 2. R: p.adjust(p, "holm").
    got = statistics.holm([0.01, 0.04, 0.03, 0.005])
    assert got == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_edges():
    assert statistics.holm([]) == []
    assert statistics.holm([0.3]) == [0.3]
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


@given(
    st.lists(st.floats(0, 1), max_size=12),
    st.floats(0.01, 0.2),
)
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, level):
    rejected = set()
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for position, i in enumerate(order):
        if p_values[i] * (len(p_values) - position) > level:
            break
        rejected.add(i)
    adjusted = statistics.holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


@pytest.mark.parametrize("n", [8, 9, 40])
@pytest.mark.parametrize("slope", [0.25, -0.02])
def test_drift_of_a_line_is_its_rise_over_its_median(n, slope):
    samples = [2.0 + slope * i for i in range(n)]
    middle = (samples[0] + samples[-1]) / 2
    want = (samples[-1] - samples[0]) / middle
    assert statistics.drift(samples) == pytest.approx(want)


def test_drift_is_the_median_of_all_slopes_and_outliers_do_not_bend_it():
    generator = np.random.default_rng(7)
    samples = 1 + 0.01 * np.arange(30) + generator.normal(0, 0.01, size=30)
    samples[[4, 20]] *= 5
    slopes = [
        (samples[j] - samples[i]) / (j - i)
        for i in range(30)
        for j in range(i + 1, 30)
    ]
    want = np.median(slopes) * 29 / np.median(samples)
    got = statistics.drift(samples.tolist())
    assert got == pytest.approx(want)
    assert got == pytest.approx(0.29 / 1.145, rel=0.1)


def kendall_p_value(samples) -> float:
    """Two-sided, by Mann's normal approximation for samples without ties."""
    n = len(samples)
    s = sum(
        np.sign(samples[j] - samples[i])
        for i in range(n)
        for j in range(i + 1, n)
    )
    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return math.erfc(abs(s) / deviation / math.sqrt(2))


def test_drift_counts_where_manns_test_is_significant():
    generator = np.random.default_rng(8)
    found = 0
    for _ in range(300):
        samples = generator.lognormal(sigma=0.1, size=40)
        samples *= 1 + 0.003 * np.arange(40)
        p_value = kendall_p_value(samples)
        if not 0.008 < p_value < 0.012:
            drifts = statistics.drift(samples.tolist()) != 0
            assert drifts == (p_value < 0.01)
            found += drifts
    assert 30 < found < 270


def test_noise_seldom_drifts():
    samples = np.random.default_rng(9).lognormal(sigma=0.2, size=(1000, 20))
    found = sum(statistics.drift(row.tolist()) != 0 for row in samples)
    assert found <= 10 + 4 * math.sqrt(10)


def test_drift_needs_eight_samples_that_differ():
    assert statistics.drift([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) == 0.0
    assert statistics.drift([1.0] * 20) == 0.0


def test_outliers_worked_example():
    # Quartiles 3.25 and 7.75 (R: quantile, type 7), so fences -3.5 and 14.5.
    ten = [float(i) for i in range(1, 11)]
    assert statistics.fences(ten) == (-3.5, 14.5)
    assert statistics.outliers(ten) == 0
    assert statistics.outliers([*ten[:-1], 14.5]) == 0
    assert statistics.outliers([*ten[:-1], 14.6]) == 1


@given(st.lists(st.floats(0.5, 1e3), min_size=1, max_size=30))
def test_outliers_are_what_a_box_plot_draws_beyond_its_whiskers(samples):
    from matplotlib.cbook import boxplot_stats

    [drawn] = boxplot_stats(samples)
    assert statistics.outliers(samples) == len(drawn["fliers"])
