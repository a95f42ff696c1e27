import numpy as np

from benchmarks.workload import Setting
from benchmarks.workloads.gpt2_generate import Generation, Size
from keras_multi import backend


def test_all_contenders_write_the_same():
    size = Size(50, 2, 2, 16, prompt=5, new=7)
    work = Generation(size, (2,))
    assert work.work(2) == 14
    setting = Setting(2, "float32", backend.modes()[0])
    ours = work.build(setting)
    expected = ours.output()
    assert expected.shape == (2, 12)
    assert len(np.unique(expected)) > 5
    ours.run(2)
    peers = work.peers(setting)
    assert set(peers) == {"keras-hub", "transformers"}
    for peer in peers.values():
        np.testing.assert_array_equal(peer.output(), expected)
