import contextlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_multi import backend
from keras_multi.layers import Embedding, SparseEmbedding
from keras_multi.layers.sparse_embedding import sum_by_id

RATE = 0.1
SIZE, WIDTH = 50, 4


def model_on(embedding, optimizer):
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            embedding,
            keras.layers.Flatten(),
            keras.layers.Dense(8, "tanh"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def examples(rows=64):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, SIZE - 5, (rows, 3), dtype="int32")
    return ids, np.sin(ids).sum(axis=1, keepdims=True).astype("float32")


def test_equals_adagrad_on_the_whole_table():
    """Two epochs of `fit`, a smaller last batch and repeated ids in each."""
    dense = Embedding(SIZE, WIDTH)
    sparse = SparseEmbedding(SIZE, WIDTH, learning_rate=RATE)
    reference = model_on(dense, keras.optimizers.Adagrad(RATE))
    model = model_on(sparse, keras.optimizers.Adagrad(RATE))
    table, *rest = reference.get_weights()
    start = np.zeros_like(table)
    anchor = np.zeros(())
    model.set_weights([anchor, table, start + 0.1, *rest])
    ids, targets = examples(70)
    losses = [
        m.fit(ids, targets, batch_size=16, epochs=2, shuffle=False, verbose=0)
        for m in (reference, model)
    ]
    np.testing.assert_allclose(
        losses[0].history["loss"], losses[1].history["loss"], rtol=1e-5
    )
    trained = ops.convert_to_numpy(sparse.embeddings)
    np.testing.assert_allclose(
        trained, ops.convert_to_numpy(dense.embeddings), rtol=1e-4, atol=1e-6
    )
    assert np.abs(trained - table).max() > 0.1
    np.testing.assert_array_equal(trained[-5:], table[-5:])
    np.testing.assert_allclose(
        reference.evaluate(ids, targets, verbose=0),
        model.evaluate(ids, targets, verbose=0),
        rtol=1e-4,
    )


def test_one_step_by_hand():
    layer = SparseEmbedding(3, 1, learning_rate=1.0, epsilon=1e-9)
    model = keras.Sequential([keras.Input((2,), dtype="int32"), layer])
    model.compile(keras.optimizers.SGD(1.0), keras.losses.MeanAbsoluteError())
    table = np.array([[1.0], [2.0], [3.0]])
    accumulator = np.array([[0.5], [0.75], [1.0]])
    model.set_weights([np.zeros(()), table, accumulator])
    # The loss is the mean of two errors, so each gradient is 1/2; row 1 has
    # two. Its step is 1 / sqrt(0.75 + 1), from sums, not from parts.
    model.fit(np.array([[1, 1]]), np.zeros((1, 2, 1)), verbose=0)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.embeddings).ravel(),
        [1.0, 2 - 1 / np.sqrt(1.75), 3.0],
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.accumulator).ravel(), [0.5, 1.75, 1]
    )


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_looks_up_and_keeps_its_configuration(policy, tmp_path):
    layer = SparseEmbedding(9, 4, 0.5, 0.2, 1e-3, dtype=policy)
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layer])
    ids = np.array([[8, 0, 3]])
    rows = layer(ids)
    assert keras.backend.standardize_dtype(rows.dtype) == layer.compute_dtype
    expected = ops.convert_to_numpy(layer.embeddings)[ids]
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(rows, "float32")), expected, rtol=1e-2
    )
    assert layer.compute_output_shape((7, 3)) == (7, 3, 4)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(
        tmp_path / "model.keras",
        custom_objects={"SparseEmbedding": SparseEmbedding},
    )
    assert again.layers[-1].get_config() == layer.get_config()
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again(ids)), ops.convert_to_numpy(model(ids))
    )


def test_prediction_and_a_frozen_layer_change_nothing():
    layer = SparseEmbedding(SIZE, WIDTH)
    model = model_on(layer, "adam")
    layer.trainable = False
    model.compile("adam", "mse")
    before = ops.convert_to_numpy(layer.embeddings).copy()
    ids, targets = examples()
    model.fit(ids, targets, verbose=0)
    model.predict(ids, verbose=0)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.embeddings), before
    )


def test_trains_inside_of_a_model_with_a_call_of_its_own():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.table = SparseEmbedding(5, 2)

        def call(self, inputs, training=False):
            return ops.sum(self.table(inputs), axis=-1)

    model = Model()
    model.compile("sgd", "mse")
    ids = np.array([[1], [3]])
    model.predict(ids, verbose=0)
    before = ops.convert_to_numpy(model.table.embeddings).copy()
    model.fit(ids, np.ones((2, 1)), verbose=0)
    after = ops.convert_to_numpy(model.table.embeddings)
    changed = (after != before).any(axis=1)
    assert changed.tolist() == [False, True, False, True, False]


def test_sums_by_id():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 20, 50).astype("int32")
    values = rng.normal(size=(50, 3)).astype("float32")
    once, sums = (
        ops.convert_to_numpy(x)
        for x in sum_by_id(
            ops.convert_to_tensor(ids), ops.convert_to_tensor(values)
        )
    )
    wanted = np.zeros((20, 3))
    np.add.at(wanted, ids, values)
    count = len(np.unique(ids))
    np.testing.assert_array_equal(once[:count], np.unique(ids))
    np.testing.assert_allclose(sums[:count], wanted[np.unique(ids)], rtol=1e-5)
    assert not once[count:].any()
    assert not sums[count:].any()


def test_a_second_lookup_in_a_step_is_an_error_on_jax():
    layer = SparseEmbedding(SIZE, WIDTH)
    ids = keras.Input((3,), dtype="int32")
    both = layer(ids) + layer(ids)
    model = keras.Model(ids, keras.layers.Dense(1)(both))
    model.compile("sgd", "mse")
    wanted = (
        pytest.raises(ValueError, match="join the ids")
        if backend.name() == "jax"
        else contextlib.nullcontext()
    )
    with wanted:
        model.fit(*examples(), verbose=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_dim", 0),
        ("output_dim", -1),
        ("learning_rate", 0.0),
        ("epsilon", 0),
    ],
)
def test_bad_input(name, value):
    arguments = {"input_dim": 5, "output_dim": 2, name: value}
    with pytest.raises(ValueError, match=f"`{name}` must"):
        SparseEmbedding(**arguments)
