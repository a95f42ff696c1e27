import numpy as np

from benchmarks.generation import Generation, Prefill
from benchmarks.gpt2 import Size, Training
from benchmarks.worker import relative_error
from benchmarks.workload import Setting
from keras_multi import backend

MODE = backend.modes()[0]


def test_all_contenders_write_the_same():
    size = Size(50, 2, 2, 16, prompt=5, new=7)
    work = Generation(size, (2,))
    assert work.work(2) == 14
    assert Prefill(size, (2,)).work(2) == 10
    setting = Setting(2, "float32", MODE)
    ours = work.build(setting)
    expected = ours.output()
    assert expected.shape == (2, 12)
    assert len(np.unique(expected)) > 5
    ours.run(2)
    peers = work.peers(setting)
    assert set(peers) == {"keras-hub", "transformers"}
    for peer in peers.values():
        np.testing.assert_array_equal(peer.output(), expected)


def test_training_agrees_with_the_native_one():
    work = Training(Size(50, 1, 2, 16, prompt=6, new=0), (3,))
    assert work.work(3) == 18
    for precision, tolerance in (("float32", 1e-5), ("mixed_bfloat16", 1e-2)):
        setting = Setting(3, precision, MODE)
        ours, native = work.build(setting), work.native(setting)
        output = ours.output()
        assert relative_error(native.output(), output) < tolerance
    assert work.native(Setting(3, "mixed_float16", MODE)) is None


def test_a_training_step_costs_what_its_products_take():
    size = Size(50, 1, 2, 16, prompt=6, new=0)
    setting = Setting(3, "float32", MODE)
    model = size.model()
    ids = Training(size, (3,)).texts(setting).inputs(slice(3))
    forward = backend.operations(lambda: model(ids))
    assert Training(size, (3,)).cost(3).operations == 3 * forward
