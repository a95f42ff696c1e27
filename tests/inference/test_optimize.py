"""`optimize_for_inference` gives what the model gives, or leaves it."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_multi
from keras_multi import backend
from keras_multi.errors import KerasMultiError, UsageError
from keras_multi.inference import optimize as optimizing
from keras_multi.inference import optimized, program
from tests.inference.models import (
    NESTED_INPUTS,
    Chance,
    FirstDecides,
    OverBatch,
    nested,
    pictures,
)

RNG = np.random.default_rng(2)
X = RNG.standard_normal((4, 6, 5, 4)).astype("float32")
MODE = backend.modes()[-1 if backend.name() == "tensorflow" else 0]


def optimize(model, inputs, **kwargs):
    return keras_multi.optimize_for_inference(
        model, inputs, modes=[MODE], **kwargs
    )


def prefer(monkeypatch, wanted):
    """Makes one program the fastest."""

    def race(contenders, seconds):
        def is_wanted(key):
            return key == wanted or key[0] == wanted

        return {key: 1.0 if is_wanted(key) else 2.0 for key in contenders}

    monkeypatch.setattr(optimizing, "race", race)


def close(found, expected):
    assert program.difference(found, expected) < 1e-5


def test_a_functional_model(monkeypatch):
    prefer(monkeypatch, "rewritten")
    model = pictures()
    before = model.get_weights()
    fast = optimize(model, X)
    report = fast.report
    assert report.program == "rewritten"
    assert report.merged == ("after_conv", "after_depthwise", "after_dense")
    assert len(report.kernels) == 5
    assert report.refused == ()
    assert report.speedup == 2
    assert "2.00 times as fast" in str(report)
    expected = model.predict(X, verbose=0)
    close(ops.convert_to_numpy(fast(X)), expected)
    close(fast.predict_on_batch(X), expected)
    close(fast.predict(X, batch_size=3), expected)
    close(fast.predict(X, batch_size=3, steps=1, verbose=0), expected[:3])
    close(fast.predict((part, None) for part in (X[:3], X[3:])), expected)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert fast.undo() is model
    close(fast.predict(X), expected)
    # It has no copy of the weights any more.
    model.layers[-1].bias.assign([100.0, 0.0, 0.0])
    assert fast.predict(X)[:, 0].min() > 0.99


@pytest.mark.parametrize("preferred", ["rewritten", "model", "keras"])
def test_a_subclassed_model(monkeypatch, preferred):
    prefer(monkeypatch, preferred)
    model = nested()
    fast = optimize(model, NESTED_INPUTS)
    assert fast.report.program == preferred
    found = fast.predict(NESTED_INPUTS, batch_size=2)
    expected = model.predict(NESTED_INPUTS, verbose=0)
    close(found["logits"], expected["logits"])
    np.testing.assert_array_equal(found["largest"], expected["largest"])


def test_inputs_of_another_shape_run_the_model():
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    fast = keras_multi.optimize_for_inference(model, batch_size=2)
    x = RNG.standard_normal((2, 5, 3)).astype("float32")
    close(fast.predict(x), model.predict(x, verbose=0))
    close(ops.convert_to_numpy(fast(x)), model.predict(x, verbose=0))


def test_batches_are_filled_up_where_rows_are_alone(monkeypatch):
    prefer(monkeypatch, "rewritten")
    sizes = []
    build = program.build

    def spied(*args):
        run = build(*args)

        def call(x):
            sizes.append(len(x))
            return run(x)

        return call

    monkeypatch.setattr(optimizing, "build", spied)
    inputs = keras.Input((3,))
    alone = keras.Model(inputs, layers.Dense(2)(inputs))
    fast = optimize(alone, np.ones((6, 3), "float32"))
    x = RNG.standard_normal((9, 3)).astype("float32")
    sizes.clear()
    for rows in (6, 5, 3, 2, 9):
        close(fast.predict_on_batch(x[:rows]), alone.predict_on_batch(x[:rows]))
    if MODE == "eager":
        assert sizes == [6, 5, 3, 2, 9]
        return
    assert sizes == [6, 6, 4, 2, 16]
    sizes.clear()
    for _ in range(optimized.OFTEN + 1):
        fast(x[:5])
    assert sizes == [6] * (optimized.OFTEN - 1) + [5, 5]
    mixed = keras.Model(inputs, OverBatch()(inputs))
    fast = optimize(mixed, x)
    sizes.clear()
    close(fast.predict_on_batch(x[:5]), mixed.predict_on_batch(x[:5]))
    assert sizes == [5]


def test_tells_of_outputs_without_rows(monkeypatch):
    prefer(monkeypatch, "rewritten")
    inputs = keras.Input((3,))
    total = keras.Model(inputs, ops.sum(layers.Dense(2)(inputs)))
    refused = optimize(total, np.ones((6, 3), "float32")).report.refused
    assert (MODE != "eager") == any("other batch sizes" in r for r in refused)


def test_a_program_with_other_outputs_is_refused(monkeypatch):
    build = program.build

    def wrong(*args):
        run = build(*args)
        return lambda x: 1.0001 * run(x)

    monkeypatch.setattr(optimizing, "build", wrong)
    prefer(monkeypatch, "rewritten")
    report = optimize(pictures(), X).report
    assert report.program in ("model", "keras")
    assert "differ by 1.0e-04" in report.refused[0]

    def broken(*args):
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr(optimizing, "build", broken)
    report = optimize(pictures(), X).report
    assert report.refused[-1] == f"rewritten, {MODE}: RuntimeError: no kernel"


def test_what_cannot_be_rewritten_is_compiled():
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            layers.Embedding(5, 2, mask_zero=True),
            layers.GlobalAveragePooling1D(),
        ]
    )
    ids = np.array([[1, 0, 0], [2, 3, 0]], "int32")
    fast = optimize(model, ids)
    assert "gives a mask" in fast.report.refused[0]
    close(fast.predict(ids), model.predict(ids, verbose=0))


@pytest.mark.skipif(MODE != "eager", reason="others compile what they trace")
def test_what_depends_on_values_is_not_repeated(monkeypatch):
    prefer(monkeypatch, "model")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, FirstDecides()(inputs))
    x = np.array([[1, 2, 3], [4, 5, -6]], "float32")
    fast = optimize(model, x)
    assert "must not depend on a value" in fast.report.refused[-1]
    assert fast.report.program == "model"
    for each in (x, -x):
        close(fast.predict(each), model.predict(each, verbose=0))


def test_decisions_are_remembered(monkeypatch, tmp_path):
    prefer(monkeypatch, "rewritten")
    ways = optimize(pictures(), X).report.kernels
    path = tmp_path / "inference.json"
    (machine, content), *_ = json.loads(path.read_text()).items()
    assert backend.name() in machine
    assert len(content) == 5
    measured = []
    fastest = program._fastest

    def spied(affine, *args):
        measured.append(affine.name)
        return fastest(affine, *args)

    monkeypatch.setattr(program, "_fastest", spied)
    assert set(optimize(pictures(), X).report.kernels.values()) <= set(
        ways.values()
    )
    assert measured == []
    path.write_text("{")
    optimize(pictures(), X)
    assert len(measured) == len(content)
    assert json.loads(path.read_text())[machine].keys() == content.keys()
    (tmp_path / "file").touch()
    optimize(pictures(), X, cache_dir=tmp_path / "file")


def test_bad_use_is_told():
    model = keras.Sequential([keras.Input((3,)), Chance()])
    with pytest.raises(KerasMultiError, match="other outputs for the same"):
        optimize(model, np.ones((2, 3), "float32"))
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    with pytest.raises(UsageError, match="has the modes"):
        keras_multi.optimize_for_inference(model, modes=["fast"])
    with pytest.raises(UsageError, match="does not tell its inputs"):
        keras_multi.optimize_for_inference(keras.Model())
    fast = optimize(model, np.ones((2, 3), "float32"))
    with pytest.raises(UsageError, match="at least 1"):
        fast.predict(np.ones((2, 3)), batch_size=0)
    with pytest.raises(UsageError, match="no rows"):
        fast.predict(np.ones((0, 3)))
    with pytest.raises(UsageError, match="does not train"):
        fast(np.ones((2, 3)), training=True)
