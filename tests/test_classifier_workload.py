"""The contenders of the classifier workloads do the same work."""

import numpy as np
import pytest

from benchmarks import workload
from benchmarks.classifier import (
    ClassifierPrediction,
    ClassifierTraining,
    Network,
)
from benchmarks.worker import relative_error
from benchmarks.workload import Setting
from keras_multi import backend

# PyTorch 2.13 corrupts its memory on processors without AVX-512 in gradients of
# a 1x1 convolution with strides from channels that 8 does not divide.
SMALL = Network((1, 1), (8, 16), num_classes=5)


def test_the_classifier_agrees_with_the_native_one():
    work = ClassifierPrediction(SMALL, batch_sizes=(3,))
    for precision, tolerance in (("float32", 1e-4), ("mixed_bfloat16", 5e-2)):
        setting = Setting(3, precision, backend.modes()[0])
        ours, native = work.build(setting), work.native(setting)
        output = ours.output()
        assert output.shape == (3, 5)
        assert np.ptp(output) > 0.1
        assert relative_error(native.output(), output) < tolerance
        ours.run(2)
        native.run(2)
    assert work.native(Setting(3, "mixed_float16", backend.modes()[0])) is None


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        ("float32", 1e-4),
        pytest.param("mixed_bfloat16", 5e-2, marks=pytest.mark.slow),
    ],
)
def test_training_agrees_with_the_native_one(precision, tolerance):
    work = ClassifierTraining(SMALL, batch_sizes=(4,))
    setting = Setting(4, precision, backend.modes()[0])
    ours, native = work.build(setting), work.native(setting)
    output = ours.output()
    assert output.shape == (3,)
    assert np.ptp(output) > 0.01
    assert relative_error(native.output(), output) < tolerance
    ours.run(2)
    native.run(2)
    assert relative_error(native.output(), ours.output()) < 10 * tolerance


def test_a_training_step_is_counted():
    work = ClassifierTraining(SMALL, batch_sizes=(2,))
    # Twice as much again for the gradients, but none by the images.
    forward = ClassifierPrediction(SMALL, (2,)).cost(2).operations
    stem = 2 * 2 * 32**2 * 49 * 3 * 8
    assert work.cost(2).operations == 3 * forward - stem
    assert workload.load("classifier_train").batch_sizes == (32,)


def test_a_step_is_counted():
    work = ClassifierPrediction(SMALL, batch_sizes=(2,))
    # Each convolution: two operations for each place, tap and pair of
    # channels; then the head.
    places = {"stem": 32**2, "stage1": 16**2, "stage2": 8**2}
    products = (
        places["stem"] * 49 * 3 * 8
        + places["stage1"] * 2 * 9 * 8 * 8
        + places["stage2"] * (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16)
        + 16 * 5
    )
    assert work.cost(2).operations == 2 * 2 * products
    assert workload.load("classifier_predict").batch_sizes == (1, 16)
