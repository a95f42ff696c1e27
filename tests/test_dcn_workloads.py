"""The contenders of the DCN workloads do the same work."""

import numpy as np
import pytest

from benchmarks.dcn import DCNWorkload, Shape
from benchmarks.energy import Meter
from benchmarks.worker import Race, relative_error, set_up_ours, take_round
from benchmarks.workload import Setting
from keras_multi import backend

SMALL = {
    "vocabulary_sizes": (30, 5, 7),
    "num_dense": 4,
    "embedding_dim": 6,
    "num_cross_layers": 2,
    "deep_units": (16, 8),
}


def contenders(training: bool, binary: bool, precision: str):
    workload = DCNWorkload(
        Shape(**SMALL, binary=binary), batch_sizes=(32,), training=training
    )
    setting = Setting(32, precision, backend.modes()[0])
    ours = workload.build(setting)
    return ours, workload.native(setting), workload.peers(setting)["keras-rs"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        ("float32", 1e-4),
        pytest.param("mixed_bfloat16", 5e-2, marks=pytest.mark.slow),
    ],
)
def test_native_and_peer_agree_with_ours(
    training, binary, precision, tolerance
):
    ours, native, peer = contenders(training, binary, precision)
    output = ours.output()
    assert len(set(np.round(output, 6))) > 1  # each step, each row differs
    assert relative_error(native.output(), output) < tolerance
    assert relative_error(peer.output(), output) < tolerance


def test_they_still_agree_after_many_steps():
    """Losses after 64 steps of Adam: optimizer states agree too."""
    ours, native, _ = contenders(True, False, "float32")
    for contender in (ours, native):
        contender.run(64)
    assert relative_error(native.output(), ours.output()) < 1e-3


def test_no_baseline_is_claimed_for_other_precisions():
    workload = DCNWorkload(
        Shape(**SMALL, binary=True), batch_sizes=(32,), training=True
    )
    assert workload.native(Setting(32, "mixed_float16", "eager")) is None


def test_rounds_rotate_and_keep_each_sample():
    workload = DCNWorkload(
        Shape(**SMALL, binary=True), batch_sizes=(32,), training=False
    )
    setting = Setting(32, "float32", backend.modes()[0])
    race: Race = set_up_ours(workload, setting)
    assert race.steps == workload.steps(32)
    for _ in range(3):
        take_round(race, Meter())
    assert len(race.samples["keras"]) == 3
    assert min(race.samples["keras"]) > 0


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ([1.0, 2.0], 0.0),
        ([1.0, 2.2], 0.1),
        ([1.0, np.nan], np.inf),
        ([1.0], np.inf),
    ],
)
def test_relative_error(output, error):
    found = relative_error(np.array(output), np.array([1.0, 2.0]))
    assert found == pytest.approx(error)
