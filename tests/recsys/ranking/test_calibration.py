import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from recsys.ranking.calibration import calibration, plot_calibration

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("bins", [1, 5, 10])
def test_equals_scikit_learn(bins):
    probability = RNG.beta(2, 5, 500)
    clicked = RNG.integers(0, 2, 500)
    ours = calibration(clicked, probability, bins)
    observed, predicted = calibration_curve(clicked, probability, n_bins=bins)
    np.testing.assert_allclose(ours.observed, observed)
    np.testing.assert_allclose(ours.predicted, predicted)
    assert ours.rows.sum() == 500


def test_error_is_the_mean_gap():
    probability = np.array([0.11, 0.19, 0.95, 1.0])
    result = calibration(np.array([0, 1, 1, 1]), probability)
    assert result.rows.tolist() == [2, 2]
    gaps = [abs(0.15 - 0.5), abs(0.975 - 1)]
    assert result.error == pytest.approx(np.mean(gaps))


def test_draws_a_picture(tmp_path):
    result = calibration(RNG.integers(0, 2, 90), RNG.uniform(size=90))
    plot_calibration(result, tmp_path / "calibration.png")
    content = (tmp_path / "calibration.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
