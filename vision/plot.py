"""Pictures of a training run: learning curves and confusion matrix."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_multi.files import replacing
from keras_multi.training import History

MOST_NAMED = 40  # classes whose names and counts can be read in a picture


def plot_curves(history: History, path: str | os.PathLike[str]) -> None:
    """Draws loss and accuracy by epoch into a PNG file.

    Args:
        history: of the run.
        path: the file to write.

    Raises:
        KerasMultiError: if the file cannot be written.
    """
    figure = _figure(9, 3.6)
    axes = figure.subplots(1, 2)
    epochs = np.arange(1, history.epochs + 1)
    for one, name in zip(axes, ("loss", "accuracy"), strict=True):
        one.plot(epochs, history.metrics[name], label="training, augmented")
        if f"val_{name}" in history.metrics:
            one.plot(epochs, history.metrics[f"val_{name}"], label="validation")
        one.axvline(history.best_epoch + 1, color="0.8", zorder=0)
        one.set_xlabel("epoch")
        one.set_ylabel(name)
        one.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    _save(figure, path)


def plot_confusion(
    counts: np.ndarray,
    class_names: Sequence[str],
    path: str | os.PathLike[str],
) -> None:
    """Draws a confusion matrix into a PNG file.

    Args:
        counts: integers `(classes, classes)`, true classes in the rows.
        class_names: one for each row. More than 40 are not written.
        path: the file to write.

    Raises:
        KerasMultiError: if the file cannot be written.
    """
    count = len(class_names)
    size = min(12.0, max(4.0, 0.5 * count + 2))
    figure = _figure(size + 0.6, size)
    axes = figure.add_subplot()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    if count <= MOST_NAMED:
        axes.set_xticks(range(count), class_names, rotation=45, ha="right")
        axes.set_yticks(range(count), class_names)
        for i, j in zip(*np.nonzero(counts), strict=True):
            color = "white" if share[i, j] > 0.5 else "black"
            axes.text(
                *(j, i, f"{counts[i, j]}"),
                ha="center",
                va="center",
                fontsize=8,
                color=color,
            )
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the class")
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
