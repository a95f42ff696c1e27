"""Whether a predicted probability is the share of clicks that follows."""

import os
from typing import NamedTuple

import numpy as np

from keras_multi.files import replacing


class Calibration(NamedTuple):
    """Predictions in bins of equal width; empty bins are left out.

    Attributes:
        predicted: mean predicted probability of each bin.
        observed: share of clicks of each bin.
        rows: number of rows of each bin.
    """

    predicted: np.ndarray
    observed: np.ndarray
    rows: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean gap, weighted by rows.

        Guo et al. 2017, "On calibration of modern neural networks", Eq. 3.
        """
        gaps = np.abs(self.predicted - self.observed)
        return float(np.average(gaps, weights=self.rows))


def calibration(
    clicked: np.ndarray, probability: np.ndarray, bins: int = 10
) -> Calibration:
    """Compares predicted probabilities with what happened.

    Args:
        clicked: 0 or 1, shape `(rows,)`.
        probability: in [0, 1], shape `(rows,)`.
        bins: number of bins of equal width.

    Returns:
        The bins that hold rows.

    Example:
        >>> result = calibration(np.array([0, 1]), np.array([0.25, 0.75]))
        >>> result.observed.tolist(), result.error
        ([0.0, 1.0], 0.25)
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    rows = np.bincount(place, minlength=bins)
    used = rows > 0
    clicks = np.bincount(place, clicked, bins)[used]
    total = np.bincount(place, probability, bins)[used]
    rows = rows[used]
    return Calibration(total / rows, clicks / rows, rows)


def plot_calibration(result: Calibration, path: str | os.PathLike[str]) -> None:
    """Draws predicted against observed probability into a PNG file.

    Args:
        result: what `calibration` gave.
        path: the file to write.

    Raises:
        KerasMultiError: if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 6), layout="constrained")
    FigureCanvasAgg(figure)
    curve, counts = figure.subplots(
        2, sharex=True, gridspec_kw={"height_ratios": (4, 1)}
    )
    curve.plot((0, 1), (0, 1), color="0.6", linestyle="--", label="perfect")
    curve.plot(
        result.predicted, result.observed, "o-", color="C0", label="model"
    )
    curve.set_xlim(0, 1)
    curve.set_ylim(0, 1)
    curve.set_aspect("equal")
    curve.set_ylabel("share of clicks")
    curve.set_title(f"Calibration (expected error {result.error:.3f})")
    curve.legend(frameon=False, loc="upper left")
    counts.bar(result.predicted, result.rows, width=0.06, color="C0")
    counts.set_xlabel("predicted probability")
    counts.set_ylabel("rows")
    for axes in (curve, counts):
        axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
