"""The augmentation workloads run, and their outputs pass the parity gate."""

import numpy as np
import pytest

from benchmarks import workload
from benchmarks.augment import batches
from benchmarks.worker import relative_error
from benchmarks.workload import Setting
from keras_multi import backend


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rand_augment", "cutmix_mixup"])
def test_peers_agree_with_ours(name):
    work = workload.load(name)
    setting = Setting(4, "float32", backend.modes()[-1])
    if setting.mode == "compile":
        setting = Setting(4, "float32", "eager")
    ours = work.build(setting)
    output = ours.output()
    assert np.isfinite(output).all()
    ours.run(2)
    peers = work.peers(setting)
    assert "keras" in peers
    for peer in peers.values():
        assert relative_error(peer.output(), output) < work.tolerance
        peer.run(1)


def test_batches_are_bytes_with_labels():
    for batch in batches(3):
        assert batch["images"].shape == (3, 64, 64, 3)
        assert batch["images"].dtype == "uint8"
        np.testing.assert_array_equal(batch["labels"].sum(1), 1)
