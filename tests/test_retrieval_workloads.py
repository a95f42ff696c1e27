"""The contenders of the retrieval workloads do the same work."""

import numpy as np
import pytest

from benchmarks import workload
from benchmarks.dcn import Shape
from benchmarks.topk import TopKWorkload
from benchmarks.two_tower import Towers, keras_model
from benchmarks.worker import relative_error
from benchmarks.workload import Setting
from benchmarks.workloads.ranker_serve import RankerServing
from benchmarks.workloads.retrieval_train import RetrievalTraining
from keras_multi import backend

MODE = backend.modes()[0]
TOWERS = Towers(num_users=40, num_items=30, embedding_dim=6, units=(8, 5))


def test_towers_agree_with_the_native_ones():
    for precision, tolerance in (("float32", 1e-4), ("mixed_bfloat16", 5e-2)):
        work = RetrievalTraining(TOWERS, batch_sizes=(32,))
        setting = Setting(32, precision, MODE)
        ours, native = work.build(setting), work.native(setting)
        output = ours.output()
        assert len(set(np.round(output, 6))) == 3
        assert relative_error(native.output(), output) < tolerance
    work = RetrievalTraining(TOWERS, batch_sizes=(32,))
    setting = Setting(32, "float32", MODE)
    ours, native = work.build(setting), work.native(setting)
    for contender in (ours, native):
        contender.run(16)
    assert relative_error(native.output(), ours.output()) < 1e-3
    assert work.native(Setting(32, "mixed_float16", MODE)) is None


def test_the_loss_of_the_towers_by_hand():
    """Softmax over the batch in NumPy, accidental hits left out."""
    setting = Setting(4, "float32", MODE)
    model = keras_model(TOWERS, setting)
    users, items = np.array([3, 1, 2, 3]), np.array([5, 6, 5, 7])
    table, w1, b1, w2, b2 = TOWERS.weights()[:5]
    u = np.maximum(table[users] @ w1 + b1, 0) @ w2 + b2
    table, w1, b1, w2, b2 = TOWERS.weights()[5:]
    v = np.maximum(table[items] @ w1 + b1, 0) @ w2 + b2
    chances = np.exp(u @ v.T / 0.1)
    chances[0, 2] = chances[2, 0] = 0
    wanted = -np.log(np.diagonal(chances) / chances.sum(axis=1)).mean()
    inputs = {
        "user_id": users.astype("int32"),
        "item_id": items.astype("int32"),
    }
    loss = model.evaluate(inputs, np.zeros(4), batch_size=4, verbose=0)
    assert loss == pytest.approx(wanted, rel=1e-4)


def test_the_ranker_agrees_with_the_native_one():
    shape = Shape(
        vocabulary_sizes=(9,) * 12,
        num_dense=2,
        embedding_dim=4,
        num_cross_layers=1,
        deep_units=(8,),
        binary=True,
    )
    work = RankerServing(shape, batch_sizes=(50,), training=False)
    setting = Setting(50, "float32", MODE)
    ids = work.batches(setting).ids
    assert (ids[:50, :10] == ids[0, :10]).all()
    assert (ids[50, :10] != ids[0, :10]).any()
    ours, native = work.build(setting), work.native(setting)
    output = ours.output()
    assert output.shape == (50,)
    assert relative_error(native.output(), output) < 1e-4
    ours.run(3)
    native.run(3)


def test_searches_agree():
    work = TopKWorkload(count=5_000, dim=8, k=20, batch_sizes=(4,))
    setting = Setting(4, "float32", MODE)
    ours, native = work.build(setting), work.native(setting)
    (flat,) = work.peers(setting).values()
    output = ours.output()
    candidates = np.random.default_rng(0).standard_normal((5000, 8), "float32")
    queries = np.random.default_rng(1).standard_normal((4, 4, 8), "float32")
    wanted = -np.sort(-(queries[0] @ candidates.T), axis=1)[:, :20]
    for found in (output, native.output(), flat.output()):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
    half = work.build(Setting(4, "mixed_bfloat16", MODE))
    assert relative_error(half.output(), output) < 5e-2
    ours.run(5)


def test_the_files_are_found():
    for name in ("retrieval_train", "ranker_serve", "topk_1m"):
        found = workload.load(name)
        for size in found.batch_sizes:
            cost = found.cost(size)
            assert cost.operations > 0
            assert cost.bytes > 0
