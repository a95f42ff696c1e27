import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from keras_multi.training import History
from vision.evaluate import confusion, metrics
from vision.plot import plot_confusion, plot_curves

PNG = b"\x89PNG\r\n\x1a\n"


def predictions(classes, count=300):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)).astype("float32")
    logits[np.arange(count), labels] += 1
    return labels, logits


@pytest.mark.parametrize("classes", [2, 5, 8])
def test_metrics_equal_those_of_scikit_learn(classes):
    labels, logits = predictions(classes)
    found = metrics(labels, logits)
    every = np.arange(classes)
    shifted = np.exp(logits.astype(np.float64))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, logits.argmax(1)),
        "log_loss": sklearn_metrics.log_loss(
            labels, probabilities, labels=every
        ),
    }
    if classes > 5:
        expected["top_5_accuracy"] = sklearn_metrics.top_k_accuracy_score(
            labels, logits, k=5, labels=every
        )
    assert found == pytest.approx(expected, rel=1e-5)


def test_of_equal_logits_one_counts():
    found = metrics(np.arange(4), np.zeros((4, 4)))
    assert found["accuracy"] == 0.25
    assert found["log_loss"] == pytest.approx(np.log(4))


def test_confusion_equals_that_of_scikit_learn(tmp_path):
    labels, logits = predictions(8)
    counts = confusion(labels, logits)
    np.testing.assert_array_equal(
        counts, sklearn_metrics.confusion_matrix(labels, logits.argmax(1))
    )
    plot_confusion(counts, list("abcdefgh"), tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(PNG)


def test_curves_are_drawn_with_and_without_validation(tmp_path):
    values = {"loss": [2.0, 1.0], "accuracy": [0.1, 0.5]}
    both = {**values, **{f"val_{k}": v for k, v in values.items()}}
    for metrics_ in (values, both):
        plot_curves(History(metrics_, 1, False), tmp_path / "curves.png")
        assert (tmp_path / "curves.png").read_bytes().startswith(PNG)
